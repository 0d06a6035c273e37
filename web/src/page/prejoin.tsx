import { useEffect, useRef, useState } from "preact/hooks";
import type { LocalMedia } from "../mesh/local-media.ts";
import type { MeetingInfo } from "../mesh/protocol.ts";
import { CameraSwitch, MicSwitch } from "./controls.tsx";
import { DevicePickers } from "./devices.tsx";
import { usePlayback, useSource } from "./hooks.ts";
import { Lobby, Problem, useTask } from "./parts.tsx";
import { rememberedName } from "./storage.ts";
import { texts } from "./texts.ts";

interface PreJoinProps {
  info: MeetingInfo;
  local: LocalMedia;
  join(name: string, password: string): Promise<void>;
  back(): void;
}

export function PreJoin({ info, local, join, back }: PreJoinProps) {
  useSource(local);
  const [name, setName] = useState(rememberedName);
  const [password, setPassword] = useState("");
  const [guarded, setGuarded] = useState(false);
  const [nameless, setNameless] = useState(false);
  const nameField = useRef<HTMLInputElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const task = useTask();

  useEffect(() => {
    void local.start();
    // One press of Enter is enough for who comes back.
    (rememberedName() === "" ? nameField.current : button.current)?.focus();
  }, [local]);

  useEffect(() => {
    if (task.error === "bad_password") setGuarded(true);
  }, [task.error]);

  function submit(event: Event): void {
    event.preventDefault();
    const wanted = name.trim();
    setNameless(wanted === "");
    if (wanted === "") nameField.current?.focus();
    else void task.run(() => join(wanted, password));
  }

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
          <Problem id="join-problem" code={task.error} />
          <div class="row">
            <button ref={button} type="submit" class="primary" aria-busy={task.busy} data-testid="join">
              {task.busy ? texts.joining : texts.join}
            </button>
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
      <div class="preview" data-testid="preview" data-video={camera ? "on" : "off"}>
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
