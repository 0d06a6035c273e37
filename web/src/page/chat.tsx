import { Fragment, type VNode } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { codeOf } from "../mesh/errors.ts";
import type { MeshView, PeerView } from "../mesh/mesh.ts";
import type { Absence, Conversation, Line } from "./conversation.ts";
import { offerIn } from "./downloads.ts";
import { duration } from "./duration.ts";
import { FileCard } from "./file-card.tsx";
import { AttachButton, PreparingList } from "./file-sending.tsx";
import { useSource } from "./hooks.ts";
import { trimmed } from "./input.ts";
import { notices } from "./live.ts";
import { Panel } from "./panel.tsx";
import type { Session } from "./session.ts";
import { sentence, texts } from "./texts.ts";

export const mayChat = ({ role, policy }: MeshView) => role !== "guest" || (policy?.chat ?? true);

/** Whether what is written to `to` reaches somebody; "" is everyone. */
export const isThere = ({ peers }: MeshView, to: string) =>
  to === "" || peers.some((peer) => peer.info.peer_id === to && hasChat(peer));

/** The original client has none. */
const hasChat = ({ state }: PeerView) => state !== "apart";

interface ChatProps {
  session: Session;
  view: MeshView;
  /** Whom we write to, by peer_id; "" for everyone. */
  to: string;
  setTo(to: string): void;
  close(): void;
}

export function Chat({ session, view, to, setTo, close }: ChatProps) {
  const { conversation } = session;
  useSource(conversation);
  useEffect(() => {
    conversation.watch(true);
    return () => conversation.watch(false);
  }, [conversation]);
  const names = new Map(view.peers.map(({ info }) => [info.peer_id, info.name]));
  const typing = conversation.typing().flatMap((id) => names.get(id) ?? []);
  return (
    <Panel title={texts.chat} testid="chat" close={close}>
      <Kept seconds={view.meeting?.retention_s ?? 0} />
      <Log session={session} names={names} kept={(view.meeting?.retention_s ?? 0) > 0} />
      <p class="hint typing" data-testid="typing">
        {typing.length > 0 ? texts.types(typing.join(texts.comma)) : ""}
      </p>
      <Composer session={session} view={view} to={to} setTo={setTo} />
    </Panel>
  );
}

/** What is kept is said to everyone. */
function Kept({ seconds }: { seconds: number }) {
  if (seconds === 0) return null;
  return (
    <p class="hint" data-testid="kept">
      {texts.kept(duration(seconds))}
    </p>
  );
}

interface LogProps {
  session: Session;
  names: Map<string, string>;
  kept: boolean;
}

function Log({ session, names, kept }: LogProps) {
  const { conversation } = session;
  const list = useRef<HTMLDivElement>(null);
  const lines = conversation.lines();
  const lastUpTo = (delivery: number) =>
    lines.filter(({ delivery_id }) => delivery_id > 0 && delivery_id <= delivery).at(-1);
  const here = lastUpTo(conversation.earlier());
  const absences = conversation.absences().map((absence) => ({ absence, at: lastUpTo(absence.after) }));
  const awayAt = (at: Line | undefined) =>
    absences.flatMap(({ absence, at: line }) =>
      line === at ? <WasAway key={absence.from} absence={absence} /> : [],
    );
  const draw = useDrawnOnce(session, names);
  const atEnd = useRef(true);
  const content = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    const [box, inside] = [list.current, content.current];
    if (!box || !inside) return;
    const observer = new ResizeObserver(() => {
      // Who has scrolled up is reading.
      if (atEnd.current) box.scrollTop = box.scrollHeight;
    });
    observer.observe(inside);
    observer.observe(box);
    return () => observer.disconnect();
  }, []);
  return (
    <div
      ref={list}
      class="log"
      role="log"
      aria-label={texts.chat}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
      tabIndex={0}
      onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
        atEnd.current = scrollHeight - scrollTop - clientHeight < 40;
      }}
    >
      <div ref={content}>
        {lines.length === 0 && <p class="hint">{silenceOf(conversation, kept)}</p>}
        <ol>
          {awayAt(undefined)}
          {lines.map((line) => (
            <Fragment key={line.client_id || line.message_id}>
              {draw(line)}
              {line === here && (
                <li class="until-here" data-testid="earlier">
                  {texts.earlier}
                </li>
              )}
              {awayAt(line)}
            </Fragment>
          ))}
        </ol>
      </div>
    </div>
  );
}

/**
 * Draws a line once, and again only when it has changed, or what it shows beside its own: of a thousand lines
 * each new one would otherwise cost as much as all of them.
 */
function useDrawnOnce(session: Session, names: Map<string, string>): (line: Line) => VNode {
  const kept = useRef({ shows: "", drawn: new WeakMap<Line, VNode>() });
  const shows = JSON.stringify([new Date().toDateString(), document.documentElement.lang, ...names]);
  if (kept.current.shows !== shows) kept.current = { shows, drawn: new WeakMap() };
  const { drawn } = kept.current;
  return (line) => {
    const before = drawn.get(line);
    if (before) return before;
    const now = <Said line={line} names={names} session={session} />;
    drawn.set(line, now);
    return now;
  };
}

/** What stands where nothing does: never that nothing was said, before that is known. */
function silenceOf(conversation: Conversation, kept: boolean): string {
  if (conversation.recalling() === "yes") return texts.recalling;
  if (conversation.recalling() === "failed") return texts.notRecalled;
  return kept ? texts.silence : texts.nothingSaid;
}

function WasAway({ absence: { from, until, readsOn } }: { absence: Absence }) {
  const [since, to] = [timeOf(new Date(from)), timeOf(new Date(until))];
  return (
    <li class="until-here" data-testid="was-away">
      <span>{readsOn ? texts.wasAway(since, to) : texts.wasAwayUnread(since, to)}</span>
    </li>
  );
}

function Said({ line, names, session }: { line: Line; names: Map<string, string>; session: Session }) {
  const { own, state, revoked } = line;
  const offer = offerIn(line);
  const to =
    line.to === undefined ? "" : own ? texts.privateTo(names.get(line.to) ?? texts.someone) : texts.privately;
  async function takeBack(): Promise<void> {
    try {
      await session.conversation.takeBack(line.message_id);
    } catch (error) {
      notices.say(sentence(codeOf(error)));
    }
  }
  return (
    <li
      class={own ? "said own" : "said"}
      data-testid="message"
      data-own={own}
      data-private={line.to !== undefined}
    >
      <p class="said-head">
        <span class="name" dir="auto">
          {own ? texts.you : line.name}
        </span>
        {to !== "" && <span class="private">{to}</span>}
        <time dateTime={new Date(line.at).toISOString()}>{timeOf(new Date(line.at))}</time>
        {own && state === "said" && !revoked && (
          <button type="button" class="quiet tiny" data-testid="take-back" onClick={() => void takeBack()}>
            {texts.takeBack}
          </button>
        )}
      </p>
      {revoked ? (
        <p class="hint">{texts.takenBack}</p>
      ) : offer ? (
        <FileCard line={line} offer={offer} names={names} session={session} />
      ) : (
        <p class="said-text" dir="auto">
          {line.text}
        </p>
      )}
      {state === "sending" && <p class="hint">{texts.sending}</p>}
      {typeof state === "object" && (
        <p class="problem" role="alert">
          {texts.notSent} {sentence(state.code)}
        </p>
      )}
    </li>
  );
}

/** Of another day with its date: where messages are kept there are such. */
function timeOf(at: Date): string {
  const day =
    at.toDateString() === new Date().toDateString() ? {} : ({ day: "numeric", month: "short" } as const);
  const format = { ...day, hour: "2-digit", minute: "2-digit" } as const;
  return at.toLocaleString(document.documentElement.lang, format);
}

interface ComposerProps {
  session: Session;
  view: MeshView;
  to: string;
  setTo(to: string): void;
}

function Composer({ session, view, to: wanted, setTo }: ComposerProps) {
  const { conversation } = session;
  const [text, setText] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => field.current?.focus(), []);
  const gone = !isThere(view, wanted);
  const to = gone ? "" : wanted;

  function send(event: Event): void {
    event.preventDefault();
    if (trimmed(text) === "" || gone) return;
    conversation.say(text, to);
    setText("");
    field.current?.focus();
  }

  if (!mayChat(view)) return <p class="hint">{texts.chatOff}</p>;
  return (
    <form class="composer" onSubmit={send}>
      <label class="to">
        <span>{texts.to}</span>
        <select
          value={gone ? "gone" : to}
          data-testid="chat-to"
          onChange={(event) => setTo(event.currentTarget.value)}
        >
          <option value="">{texts.everyone}</option>
          {gone && <option value="gone">{texts.gone}</option>}
          {view.peers.filter(hasChat).map(({ info }) => (
            <option key={info.peer_id} value={info.peer_id}>
              {info.name}
            </option>
          ))}
        </select>
      </label>
      <PreparingList sharing={session.sharing} />
      <div class="composer-line">
        <AttachButton disabled={gone} take={(files) => void session.sharing.offer(files, to)} />
        <textarea
          ref={field}
          rows={2}
          value={text}
          maxLength={2_000}
          aria-label={texts.message}
          placeholder={texts.message}
          data-testid="chat-text"
          onInput={(event) => {
            setText(event.currentTarget.value);
            conversation.type(to);
          }}
          onKeyDown={(event) => {
            // Enter ends the choice of a Chinese character, too.
            if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
          }}
        />
        <button type="submit" class="primary small" data-testid="chat-send" aria-disabled={gone}>
          {texts.send}
        </button>
      </div>
    </form>
  );
}
