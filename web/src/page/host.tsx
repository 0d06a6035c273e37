import { useState } from "preact/hooks";
import type { Api } from "../mesh/api.ts";
import type { MeshView, PeerView } from "../mesh/mesh.ts";
import type { Control, ModerateAction } from "../mesh/protocol.ts";
import { notices } from "./live.ts";
import { Problem, useTask } from "./parts.tsx";
import type { Session } from "./session.ts";
import { hostKeyOf } from "./storage.ts";
import { texts } from "./texts.ts";

interface HostProps {
  session: Session;
  view: MeshView;
}

/** From more than this many who wait on, some may be of one visitor who fills the lobby. */
const crowd = 3;

/** Who waits to be let in. */
export function Waiting({ session, view }: HostProps) {
  const task = useTask();
  if (view.waiting.length === 0) return null;
  const decide = (action: "admit" | "deny", whom: { ticket?: string; network?: boolean } = {}) =>
    void task.run(() => session.mesh.moderate({ action, ...whom }));
  return (
    <section class="lobby-list" data-testid="lobby">
      <h3>{texts.lobby(view.waiting.length)}</h3>
      <ul class="people">
        {view.waiting.map(({ ticket, name, memo, country, like }) => (
          <li key={ticket} class="waiter" data-testid="waiter">
            <p class="waiter-who">
              <span class="name" dir="auto">
                {name}
              </span>
              {country && <span class="soft">{country}</span>}
            </p>
            {memo !== "" && (
              <p class="hint" dir="auto">
                {memo}
              </p>
            )}
            {like && (
              <p class="hint" data-testid="like">
                {texts.likeRemoved}
              </p>
            )}
            <p class="row">
              <button
                type="button"
                class="primary small"
                data-testid="admit"
                onClick={() => decide("admit", { ticket })}
              >
                {texts.admit}
              </button>
              <button
                type="button"
                class="quiet small"
                data-testid="deny"
                onClick={() => decide("deny", { ticket })}
              >
                {texts.deny}
              </button>
              {view.waiting.length > crowd && (
                <button
                  type="button"
                  class="quiet small"
                  data-testid="deny-network"
                  onClick={() => decide("deny", { ticket, network: true })}
                >
                  {texts.denyNetwork}
                </button>
              )}
            </p>
          </li>
        ))}
      </ul>
      {view.waiting.length > 1 && (
        <p class="row">
          <button
            type="button"
            class="secondary small"
            data-testid="admit-all"
            onClick={() => decide("admit")}
          >
            {texts.admitAll}
          </button>
          <button type="button" class="quiet small" data-testid="deny-all" onClick={() => decide("deny")}>
            {texts.denyAll}
          </button>
        </p>
      )}
      <Problem id="lobby-problem" code={task.error} />
    </section>
  );
}

const switches = ["speak", "camera", "chat", "rename", "lobby", "locked", "takeover"] as const;

/** What the host allows, and the end of the meeting. */
export function HostControls({ session, view, api }: HostProps & { api: Api }) {
  const task = useTask();
  const [password, setPassword] = useState("");
  const { meeting } = view;
  if (!meeting) return null;
  const set = (change: Control) => void task.run(() => session.mesh.control(change));
  function submitPassword(event: Event): void {
    event.preventDefault();
    void task.run(async () => {
      await session.mesh.control({ password: password === "" ? null : password });
      setPassword("");
      notices.say(texts.passwordSet);
    });
  }
  const hostKey = hostKeyOf(session.key);
  return (
    <details class="host" data-testid="host-controls">
      <summary>{texts.control}</summary>
      <div class="host-body">
        {switches.map((name) => (
          <label key={name} class="switch">
            <input
              type="checkbox"
              checked={meeting.policy[name]}
              data-testid={`allow-${name}`}
              onChange={(event) => set({ [name]: event.currentTarget.checked })}
            />
            <span>{texts.allow[name]}</span>
          </label>
        ))}
        <form class="password" onSubmit={submitPassword}>
          <label class="field">
            <span>{texts.newPassword}</span>
            <input
              type="password"
              autoComplete="new-password"
              maxLength={64}
              value={password}
              placeholder={meeting.password ? texts.hasPassword : texts.noPassword}
              data-testid="new-password"
              onInput={(event) => setPassword(event.currentTarget.value)}
            />
          </label>
          <button type="submit" class="secondary small" data-testid="set-password">
            {texts.setPassword}
          </button>
        </form>
        <Problem id="control-problem" code={task.error} />
        <p class="row">
          {hostKey && (
            <button
              type="button"
              class="secondary small"
              data-testid="attendance"
              onClick={() => void task.run(async () => save(await api.attendees(session.key, hostKey)))}
            >
              {texts.attendance}
            </button>
          )}
          {view.role === "host" && hostKey && (
            <Twice
              label={texts.endForAll}
              ask={texts.sureEnd}
              testid="end"
              act={() => void task.run(() => session.mesh.moderate({ action: "end" }))}
            />
          )}
        </p>
      </div>
    </details>
  );
}

function save(list: Blob): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(list);
  link.download = "attendees.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** What who leads may do to someone. */
export function Actions({ session, view, peer }: HostProps & { peer: PeerView }) {
  const task = useTask();
  const [means, setMeans] = useState("");
  const { peer_id, role, media } = peer.info;
  const spotlit = view.meeting?.spotlight === peer_id;
  const subordinate = role === "guest" || (role === "cohost" && view.role === "host");
  const act = (action: ModerateAction) => () =>
    void task.run(() => session.mesh.moderate({ action, peer_id }));
  const button = (action: keyof typeof texts.actions, press: () => void) => (
    <button type="button" class="secondary small" data-testid={`do-${action}`} onClick={press}>
      {texts.actions[action]}
    </button>
  );
  return (
    <div class="row actions">
      {subordinate && media.audio && button("mute", act("mute"))}
      {subordinate && media.video && button("stop_video", act("stop_video"))}
      {button(
        spotlit ? "unspotlight" : "spotlight",
        () => void task.run(() => session.mesh.control({ spotlight: spotlit ? null : peer_id })),
      )}
      {view.role === "host" && role === "guest" && button("promote", act("promote"))}
      {view.role === "host" && role === "cohost" && button("demote", act("demote"))}
      {subordinate &&
        removals(view).map((removal) => (
          <Twice
            key={removal}
            label={texts.actions[removal]}
            ask={texts.sure(texts.actions[removal])}
            asks={(asked) => setMeans(asked ? texts.removals[removal] : "")}
            testid={`do-${removal}`}
            act={() => void task.run(() => session.mesh.moderate({ ...removalOf[removal], peer_id }))}
          />
        ))}
      <p class="hint means" role="status" data-testid="means">
        {means}
      </p>
      <Problem id={`actions-${peer_id}`} code={task.error} />
    </div>
  );
}

const removalOf = {
  kick: { action: "kick" },
  kick_lobby: { action: "kick", lobby: true },
  kick_lock: { action: "kick", lock: true },
  ban: { action: "ban" },
} as const;

/** The ways to remove somebody, but for what is so already. */
function removals({ meeting }: MeshView): (keyof typeof removalOf)[] {
  const { lobby = false, locked = false } = meeting?.policy ?? {};
  return [
    "kick",
    ...(lobby ? [] : (["kick_lobby"] as const)),
    ...(locked ? [] : (["kick_lock"] as const)),
    "ban",
  ];
}

/** A button that asks before it does what cannot be undone. */
function Twice(props: {
  label: string;
  ask: string;
  testid: string;
  asks?(asked: boolean): void;
  act(): void;
}) {
  const [asked, setAsked] = useState(false);
  function ask(now: boolean): void {
    setAsked(now);
    props.asks?.(now);
  }
  return (
    <button
      type="button"
      class={asked ? "danger small" : "quiet small"}
      data-testid={props.testid}
      onBlur={() => ask(false)}
      onClick={() => {
        if (asked) props.act();
        ask(!asked);
      }}
    >
      {asked ? props.ask : props.label}
    </button>
  );
}
