import { useEffect, useRef, useState } from "preact/hooks";
import type { LocalMedia } from "../mesh/local-media.ts";
import type { MeetingInfo } from "../mesh/protocol.ts";
import { CameraSwitch, MicSwitch } from "./controls.tsx";
import { DevicePickers } from "./devices.tsx";
import { usePlayback, useSource } from "./hooks.ts";
import { identity } from "./identity.ts";
import { trimmed } from "./input.ts";
import { Lobby, Problem, useTask } from "./parts.tsx";
import type { Progress, Seat } from "./session.ts";
import { rememberedName } from "./storage.ts";
import { sentence, texts } from "./texts.ts";

interface PreJoinProps {
  /** Somebody has called us here: no press is needed. */
  atOnce: boolean;
  info: MeetingInfo;
  local: LocalMedia;
  join(who: Omit<Seat, "key">, progress: Required<Progress>): Promise<void>;
  back(): void;
}

export function PreJoin({ atOnce, info, local, join, back }: PreJoinProps) {
  useSource(local);
  useSource(identity);
  const vouched = identity.tokenFor(info.meeting_id) !== "" ? identity.claims() : null;
  const [typed, setName] = useState(rememberedName() || (identity.claims()?.name ?? ""));
  const name = vouched ? vouched.name : typed;
  const [password, setPassword] = useState("");
  const [memo, setMemo] = useState("");
  const [cancel, setCancel] = useState<(() => void) | null>(null);
  const cancelled = useRef(false);
  /** What keeps us out, while it is tried on. */
  const [refusal, setRefusal] = useState("");
  const [guarded, setGuarded] = useState(false);
  const [nameless, setNameless] = useState(false);
  const nameField = useRef<HTMLInputElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const task = useTask();

  useEffect(() => {
    void local.start();
    // One press of Enter is enough for who comes back.
    (name === "" ? nameField.current : button.current)?.focus();
    if (atOnce) void task.run(() => enter(name));
  }, [local]);

  useEffect(() => {
    if (task.error === "bad_password") setGuarded(true);
  }, [task.error]);

  function submit(event: Event): void {
    event.preventDefault();
    const wanted = trimmed(name);
    setNameless(wanted === "");
    if (wanted === "") nameField.current?.focus();
    else void task.run(() => enter(wanted));
  }

  async function enter(name: string): Promise<void> {
    cancelled.current = false;
    try {
      await join(
        { name, password, memo: trimmed(memo) },
        {
          waiting: (stop) =>
            setCancel(() => () => {
              cancelled.current = true;
              stop();
            }),
          refused: setRefusal,
        },
      );
    } catch (error) {
      if (!cancelled.current) throw error;
    } finally {
      setCancel(null);
      setRefusal("");
    }
  }

  // A wait that nobody waits for any more keeps no place.
  const giveUp = useRef(cancel);
  giveUp.current = cancel;
  useEffect(() => () => giveUp.current?.(), []);

  return (
    <Lobby>
      <form class="card prejoin" onSubmit={submit} noValidate data-testid="prejoin">
        <Preview local={local} />
        <div class="prejoin-form">
          <div>
            <h1>{info.name || texts.ready}</h1>
            <p class="hint" data-testid="inside">
              {texts.inside(info.participants)}
            </p>
          </div>
          <label class="field">
            <span>{texts.yourName}</span>
            <input
              ref={nameField}
              value={name}
              readOnly={vouched !== null}
              placeholder={texts.namePlaceholder}
              autoComplete="nickname"
              maxLength={64}
              aria-invalid={nameless}
              aria-describedby="name-problem"
              data-testid="name"
              onInput={(event) => setName(event.currentTarget.value)}
            />
          </label>
          <p id="name-problem" class="problem" role="alert">
            {nameless ? texts.nameMissing : ""}
          </p>
          {guarded && (
            <label class="field">
              <span>{texts.password}</span>
              <input
                type="password"
                value={password}
                autoComplete="off"
                data-testid="password"
                onInput={(event) => setPassword(event.currentTarget.value)}
              />
            </label>
          )}
          {cancel === null && (
            <details class="memo">
              <summary>{texts.memo}</summary>
              <input
                value={memo}
                maxLength={256}
                aria-label={texts.memo}
                placeholder={texts.memoHint}
                data-testid="memo"
                onInput={(event) => setMemo(event.currentTarget.value)}
              />
            </details>
          )}
          <Problem id="join-problem" code={task.error} />
          <p class="advice calm" role="status" data-testid="waiting">
            {cancel === null ? "" : texts.inLobby}
          </p>
          <p class="advice" role="status" data-testid="still-trying" data-code={refusal}>
            {refusal === "" ? "" : texts.stillTrying(sentence(refusal))}
          </p>
          <div class="row">
            {/* Keys: a button that became the other one in the middle of a click would submit. */}
            {cancel === null ? (
              <button
                key="join"
                ref={button}
                type="submit"
                class="primary"
                aria-busy={task.busy}
                data-testid="join"
              >
                {task.busy ? texts.joining : texts.join}
              </button>
            ) : (
              <button key="stop" type="button" class="secondary" data-testid="stop-waiting" onClick={cancel}>
                {texts.stopWaiting}
              </button>
            )}
            <button type="button" class="quiet" onClick={back}>
              {texts.back}
            </button>
          </div>
        </div>
      </form>
    </Lobby>
  );
}

function Preview({ local }: { local: LocalMedia }) {
  const { camera } = local.tracks();
  const video = usePlayback(camera);
  return (
    <div class="preview-side">
      <div class="preview" aria-busy={local.busy()} data-testid="preview" data-video={camera ? "on" : "off"}>
        <video
          ref={video}
          class="mirrored"
          hidden={!camera}
          autoPlay
          playsInline
          muted
          aria-label={texts.preview}
        />
        {!camera && <p>{local.busy() ? texts.asking : texts.cameraIsOff}</p>}
        <div class="preview-controls">
          <MicSwitch local={local} allowed />
          <CameraSwitch local={local} allowed />
        </div>
      </div>
      <MediaAdvice local={local} />
      <DevicePickers local={local} />
    </div>
  );
}

/** What is missing, why, and what that means for the meeting. */
export function MediaAdvice({ local }: { local: LocalMedia }) {
  const problem = local.problem();
  return (
    <p class="advice" role="status" data-testid="media-advice" data-problem={problem ?? ""}>
      {problem && !local.busy() ? `${texts.problems[problem]} ${consequence(local)}` : ""}
    </p>
  );
}

function consequence(local: LocalMedia): string {
  const { audio, camera } = local.tracks();
  if (audio && camera) return "";
  if (audio) return texts.audioOnly;
  return camera ? texts.videoOnly : texts.watching;
}
