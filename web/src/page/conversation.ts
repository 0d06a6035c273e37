/** What was said in the meeting, as the page shows it: newest last, with what is not read yet. */
import { codeOf } from "../mesh/errors.ts";
import { createEvents, type Events } from "../mesh/events.ts";
import type { Away, Mesh } from "../mesh/mesh.ts";
import type { ChatMessage } from "../mesh/protocol.ts";

export interface Line extends ChatMessage {
  /** Ours. */
  own: boolean;
  /** `sending` until it is stored; a code if it was refused. */
  state: "said" | "sending" | { code: string };
}

/** We were away, after that delivery. */
export interface Absence extends Away {
  after: number;
}

export interface Conversation {
  readonly on: Events<{ change: undefined; heard: ChatMessage }>["on"];
  lines(): Line[];
  unread(): number;
  /** Those who are typing to us or to all, by peer_id. */
  typing(): string[];
  /** While the panel is open, what comes is read. */
  watch(open: boolean): void;
  /** `meta`: what a program makes of it, such as the offer of a file. */
  say(text: string, to: string, meta?: unknown): void;
  takeBack(messageId: string): Promise<void>;
  /** Fetches what was said before this page was loaded. What came after delivery `told` was not read yet. */
  recall(told?: number): Promise<void>;
  /** Whether what was said before is being fetched, or could not be. */
  recalling(): "no" | "yes" | "failed";
  /** The last delivery that is here. */
  told(): number;
  /** The last delivery before we came back, after having left; 0 if we have not. */
  earlier(): number;
  /** When our seat was not kept for as long as we were out. */
  absences(): Absence[];
  /** A key was pressed. */
  type(to: string): void;
}

/** A meeting's chat is read while it lasts; nobody scrolls back further than this. */
const most = 1_000;
const typingMs = 4_000;

export function createConversation(mesh: Mesh): Conversation {
  const events = createEvents<{ change: undefined; heard: ChatMessage }>();
  let lines: Line[] = [];
  let absences: Absence[] = [];
  let recalling: "no" | "yes" | "failed" = "no";
  let unread = 0;
  let open = false;
  let drafts = 0;
  let toldTyping = 0;
  const typing = new Map<string, ReturnType<typeof setTimeout>>();
  const changed = () => events.emit("change", undefined);

  function put(line: Line): void {
    lines = inOrder([...lines, line]).slice(-most);
    changed();
  }

  function replace(id: string, next: Partial<Line>): void {
    lines = inOrder(lines.map((line) => (line.message_id === id ? { ...line, ...next } : line)));
    changed();
  }

  function silent(peerId: string): void {
    clearTimeout(typing.get(peerId));
    if (typing.delete(peerId)) changed();
  }

  mesh.on("message", (message) => {
    silent(message.from);
    if (!open) unread++;
    put({ ...message, own: false, state: "said" });
    events.emit("heard", message);
  });
  mesh.on("revoked", ({ message_id, revoked }) => {
    if (revoked) replace(message_id, { revoked, text: "" });
  });
  mesh.on("typing", ({ from }) => {
    clearTimeout(typing.get(from));
    typing.set(
      from,
      setTimeout(() => silent(from), typingMs),
    );
    changed();
  });
  mesh.on("left", ({ peer }) => silent(peer.peer_id));
  // What was said meanwhile comes after this.
  mesh.on("away", (away) => {
    absences = [...absences, { ...away, after: told() }];
    changed();
  });

  const told = () => Math.max(0, ...lines.map(({ delivery_id }) => delivery_id));

  async function recall(): Promise<ChatMessage[]> {
    recalling = "yes";
    changed();
    try {
      const said = await mesh.chat.history();
      recalling = "no";
      return said;
    } catch (error) {
      recalling = "failed";
      throw error;
    } finally {
      changed();
    }
  }

  return {
    on: events.on,
    lines: () => lines,
    unread: () => unread,
    typing: () => [...typing.keys()],
    watch(next) {
      open = next;
      if (open && unread > 0) {
        unread = 0;
        changed();
      }
    },
    say(text, to, meta) {
      const draft = `draft ${++drafts}`;
      const { selfId, name } = mesh.view();
      const options = { ...(to === "" ? {} : { to }), ...(meta === undefined ? {} : { meta }) };
      put({
        message_id: draft,
        delivery_id: 0,
        client_id: "",
        from: selfId,
        name,
        text,
        at: Date.now(),
        revoked: false,
        own: true,
        state: "sending",
        ...options,
      });
      mesh.chat.send(text, options).then(
        (message) => replace(draft, { ...message, state: "said" }),
        (error) => replace(draft, { state: { code: codeOf(error) } }),
      );
    },
    async takeBack(messageId) {
      await mesh.chat.revoke(messageId);
      replace(messageId, { revoked: true, text: "" });
    },
    async recall(told) {
      const said = (await recall()).map((message) => {
        const line: Line = { ...message, own: mesh.chat.isSelf(message.from), state: "said" };
        return line;
      });
      const known = new Set(lines.map(({ message_id }) => message_id));
      const fresh = said.filter(({ message_id }) => !known.has(message_id));
      lines = inOrder([...fresh, ...lines]).slice(-most);
      if (told !== undefined && !open) {
        unread += fresh.filter(({ own, delivery_id }) => !own && delivery_id > told).length;
      }
      changed();
    },
    recalling: () => recalling,
    absences: () => absences,
    told,
    earlier: () => mesh.chat.earlier(),
    type(to) {
      const now = Date.now();
      if (now - toldTyping < typingMs / 2) return;
      toldTyping = now;
      mesh.chat.typing(to === "" ? undefined : to);
    },
  };
}

/** The meeting's order, the same for all; what is not stored yet comes last. */
function inOrder(lines: Line[]): Line[] {
  const place = ({ delivery_id }: Line) => delivery_id || Number.MAX_SAFE_INTEGER;
  return [...lines].sort((a, b) => place(a) - place(b));
}
