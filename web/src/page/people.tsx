import { useState } from "preact/hooks";
import type { Api } from "../mesh/api.ts";
import type { MeshView, PeerView } from "../mesh/mesh.ts";
import type { MediaState } from "../mesh/protocol.ts";
import type { Quality } from "../mesh/quality.ts";
import { Actions, HostControls, Waiting } from "./host.tsx";
import { CameraOffIcon, HandIcon, HostIcon, MicOffIcon, QualityIcon, ShieldIcon } from "./icons.tsx";
import { trimmed } from "./input.ts";
import { Matrix } from "./matrix.tsx";
import { Panel } from "./panel.tsx";
import { CopyButton, Problem, useTask } from "./parts.tsx";
import { RingSomeone } from "./ringsomeone.tsx";
import type { Session } from "./session.ts";
import { rememberName } from "./storage.ts";
import { texts } from "./texts.ts";

interface PeopleProps {
  api: Api;
  session: Session;
  view: MeshView;
  /** What we say of our own media. */
  media: MediaState;
  link: string;
  close(): void;
}

export function People({ api, session, view, media, link, close }: PeopleProps) {
  const [open, setOpen] = useState("");
  const most = view.policy?.max_peers ?? 0;
  const here = view.peers.length + 1;
  return (
    <Panel title={texts.participants} testid="people-panel" close={close}>
      <p class="hint" data-testid="places">
        {most > 0 && (here >= most ? texts.full(most) : texts.places(here, most))}
        {here >= 6 && here < most && ` ${texts.crowded}`}
      </p>
      <CopyButton class="secondary" value={link}>
        {texts.copyLink}
      </CopyButton>
      {view.meeting?.attendance && <p class="advice">{texts.recorded}</p>}
      <Waiting session={session} view={view} />
      <ul class="people">
        <Self session={session} view={view} media={media} />
        {byHand(view.peers).map((peer) => (
          <Person
            key={peer.info.peer_id}
            session={session}
            view={view}
            peer={peer}
            open={open === peer.info.peer_id}
            toggle={() => setOpen(open === peer.info.peer_id ? "" : peer.info.peer_id)}
          />
        ))}
      </ul>
      {session.calls && <RingSomeone calls={session.calls} />}
      <Matrix view={view} />
      {view.role !== "guest" && <HostControls session={session} view={view} api={api} />}
      <Safety view={view} />
    </Panel>
  );
}

/** Who has raised a hand comes first, in the order of raising; the others as they came. */
export function byHand(peers: PeerView[]): PeerView[] {
  const since = ({ info }: PeerView) => info.media.hand ?? Number.POSITIVE_INFINITY;
  return [...peers].sort((a, b) => (since(a) === since(b) ? 0 : since(a) - since(b)));
}

function Self({ session, view, media }: Pick<PeopleProps, "session" | "view" | "media">) {
  const [name, setName] = useState<string | null>(null);
  const task = useTask();
  // Who is vouched for is called what the application says.
  const may = !session.calls && (view.role !== "guest" || (view.policy?.rename ?? true));
  function submit(event: Event): void {
    event.preventDefault();
    const wanted = trimmed(name ?? "");
    if (wanted === "" || wanted === view.name) {
      setName(null);
      return;
    }
    void task.run(async () => {
      await session.mesh.rename(wanted);
      rememberName(wanted);
      setName(null);
    });
  }
  return (
    <li class="person" data-testid="person" data-self="true">
      {name === null ? (
        <div class="person-line">
          <span class="name" dir="auto">
            {view.name}
          </span>
          <span class="soft">{texts.you}</span>
          <Marks media={media} role={view.role} />
          {may && (
            <button type="button" class="quiet small" data-testid="rename" onClick={() => setName(view.name)}>
              {texts.rename}
            </button>
          )}
        </div>
      ) : (
        <form class="person-line" onSubmit={submit}>
          <input
            value={name}
            maxLength={64}
            aria-label={texts.yourName}
            data-testid="new-name"
            ref={(input) => input?.focus()}
            onInput={(event) => setName(event.currentTarget.value)}
          />
          <button type="submit" class="secondary small" aria-busy={task.busy} data-testid="save-name">
            {texts.save}
          </button>
        </form>
      )}
      <Problem id="rename-problem" code={task.error} />
    </li>
  );
}

interface PersonProps {
  session: Session;
  view: MeshView;
  peer: PeerView;
  open: boolean;
  toggle(): void;
}

function Person({ session, view, peer, open, toggle }: PersonProps) {
  const { info, quality } = peer;
  const apart = peer.state === "apart";
  const id = `details-${info.peer_id}`;
  return (
    <li class="person" data-testid="person" data-self="false" data-trust={peer.trust}>
      <button type="button" class="person-line" aria-expanded={open} aria-controls={id} onClick={toggle}>
        <span class="name" dir="auto">
          {info.name}
        </span>
        {view.meeting?.spotlight === info.peer_id && <span class="soft">{texts.spotlit}</span>}
        {info.state === "away" && <span class="soft">{texts.away}</span>}
        <Marks media={apart ? null : info.media} role={info.role} />
        {!apart && <Connection level={quality.level} />}
      </button>
      {peer.trust === "refused" && <p class="problem">{texts.refusedOf(info.name)}</p>}
      {apart && (
        <p class="hint apart" data-testid="apart">
          {texts.apartOf(info.name)}
        </p>
      )}
      <div id={id} hidden={!open}>
        {open && view.role !== "guest" && <Actions session={session} view={view} peer={peer} />}
        {open && !apart && <Details peer={peer} />}
      </div>
    </li>
  );
}

function Connection({ level }: { level: Quality["level"] }) {
  const text = texts.connectionIs(texts.qualities[level]);
  return (
    <span class={`quality ${level}`} role="img" aria-label={text} title={text} data-testid="quality">
      <QualityIcon />
    </span>
  );
}

function Marks({ media, role }: { media: MediaState | null; role: string }) {
  return (
    <span class="marks">
      {media && media.hand !== null && <Mark text={texts.handUp} kind="hand" icon={<HandIcon />} />}
      {role !== "guest" && (
        <Mark text={role === "host" ? texts.host : texts.cohost} kind="host" icon={<HostIcon />} />
      )}
      {media && !media.audio && <Mark text={texts.muted} kind="muted" icon={<MicOffIcon />} />}
      {media && !media.video && <Mark text={texts.noCamera} kind="no-camera" icon={<CameraOffIcon />} />}
    </span>
  );
}

function Mark({ text, kind, icon }: { text: string; kind: string; icon: preact.ComponentChild }) {
  return (
    <span class={`mark-of ${kind}`} role="img" aria-label={text} title={text}>
      {icon}
    </span>
  );
}

/** What the connection is made of, for who wants to know why it is good or bad. */
function Details({ peer: { quality: q, trust } }: { peer: PeerView }) {
  const t = texts.details;
  const percent = (share: number | null) => (share === null ? t.unknown : `${(share * 100).toFixed(1)} %`);
  const picture = (stream: typeof q.videoIn) =>
    stream ? ` · ${stream.codec} ${stream.width}×${stream.height}, ${stream.fps}/s` : "";
  const rows: [string, string][] = [
    [t.route, q.route === null ? t.unknown : `${t[q.route]} · ${q.transport.toUpperCase()}`],
    [t.rtt, q.rttMs === null ? t.unknown : `${q.rttMs} ms`],
    [t.lossIn, percent(q.lossIn)],
    [t.lossOut, percent(q.lossOut)],
    [t.in, `${q.kbpsIn} kbit/s${picture(q.videoIn)}`],
    [t.out, `${q.kbpsOut} kbit/s${picture(q.videoOut)}`],
    [t.available, q.availableKbps === null ? t.unknown : `${q.availableKbps} kbit/s`],
    [t.audio, q.audioCodec || t.unknown],
    [t.trust, texts.trust[trust]],
  ];
  return (
    <dl class="details" data-testid="details">
      {rows.map(([what, value]) => (
        <div key={what}>
          <dt>{what}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Safety({ view }: { view: MeshView }) {
  if (view.peers.length === 0) return null;
  return (
    <section class="safety">
      <h3>
        <ShieldIcon />
        {texts.safety}
      </h3>
      {view.safetyNumber ? (
        <>
          <p class="digits" data-testid="safety-number">
            {view.safetyNumber.split(" ").map((group) => (
              <span key={group}>{group}</span>
            ))}
          </p>
          <p class="hint">{texts.safetyHint}</p>
        </>
      ) : (
        <p class="hint">{texts.noSafety}</p>
      )}
    </section>
  );
}
