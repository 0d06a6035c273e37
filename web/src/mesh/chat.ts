/**
 * What people say to each other. The server stores a message before it tells anyone, so this side has two
 * things to see to: that what we say is said once, however often the connection breaks, and that what was
 * said while we were away is told, in order and once.
 */
import { codeOf, localError, retryAfterOf } from "./errors.ts";
import type { ChatMessage, ChatPage, ChatRequest, ChatUpdate } from "./protocol.ts";
import type { Signaling } from "./signaling.ts";

export interface SendOptions {
  /** A peer_id; left out: everyone. */
  to?: string;
  /** Any JSON of 1 KiB, for the program at the other end. */
  meta?: unknown;
}

/** What a meeting's people may use. */
export interface Chat {
  /** Resolves once the message is stored. It waits for a connection; order is kept. */
  send(text: string, options?: SendOptions): Promise<ChatMessage>;
  revoke(messageId: string): Promise<void>;
  /** Told to the others at once, and never again. */
  typing(to?: string): void;
  /** All that was said since we joined, also in the seats of before, our own included, in order. */
  history(): Promise<ChatMessage[]>;
  /** Whether that is us, now or in a seat of before. */
  isSelf(peerId: string): boolean;
  /** The last delivery before we came back after having left; 0 if we have read nothing before. */
  earlier(): number;
}

/** What the mesh tells it. */
export interface ChatRoom extends Chat {
  /**
   * We have a seat, as of `rev`: the same, or one that was resumed after a reload, or another. Returns whether what was
   * said since the seat before is ours to read.
   */
  joined(self: {
    peerId: string;
    past: string[];
    name: string;
    rev: number;
    resumed: boolean;
    same: boolean;
  }): boolean;
  take(message: ChatMessage): void;
  update(update: ChatUpdate): void;
  close(): void;
}

export interface ChatOptions {
  signaling: Pick<Signaling, "chat" | "chatSync" | "chatRevoke" | "typing">;
  online(): boolean;
  onMessage(message: ChatMessage): void;
  onUpdate(update: ChatUpdate): void;
  onError(error: unknown): void;
}

interface Pending {
  request: ChatRequest;
  /** It may have been stored, though we were not told. */
  unsure: boolean;
  resolve(message: ChatMessage): void;
  reject(error: unknown): void;
}

type Told = { message: ChatMessage } | { update: ChatUpdate };

const retryMs = 1_000;
const passing = new Set([
  "rate_limited",
  "unavailable",
  "server_draining",
  "timeout",
  "disconnected",
  "not_joined",
]);

export function createChat(options: ChatOptions): ChatRoom {
  const { signaling } = options;
  let self: { peerId: string; past: string[]; name: string } = { peerId: "", past: [], name: "" };
  let earlier = 0;
  let closed = false;

  /** The last delivery that was passed on. */
  let cursor = 0;
  /** There are deliveries to fetch first: what comes by itself is held back. */
  let behind = false;
  let fetching = false;
  let held: Told[] = [];

  let queue: Pending[] = [];
  let sending = false;
  let retryTimer: ReturnType<typeof setTimeout> | undefined;

  // What is told to us.

  function tell(told: Told): void {
    if (place(told) <= cursor) return;
    cursor = place(told);
    if ("message" in told) options.onMessage(told.message);
    else options.onUpdate(told.update);
  }

  function arrived(told: Told): void {
    if (behind || !options.online()) held.push(told);
    else tell(told);
  }

  function release(): void {
    behind = false;
    const list = held;
    held = [];
    for (const told of list) tell(told);
  }

  /** Fetches what came after the cursor, and only then lets through what came by itself. */
  async function catchUp(): Promise<void> {
    if (fetching || !behind || !options.online()) return;
    fetching = true;
    try {
      for (let more = true; more; ) {
        const page = await signaling.chatSync(cursor);
        for (const told of inOrder(page)) tell(told);
        more = page.more;
      }
      release();
    } catch (error) {
      if (passing.has(codeOf(error))) {
        later(error);
      } else {
        options.onError(error);
        release();
      }
    } finally {
      fetching = false;
    }
  }

  // What we say.

  async function drain(): Promise<void> {
    if (sending || closed) return;
    sending = true;
    for (let next = queue[0]; next && options.online(); next = queue[0]) {
      try {
        const done = await signaling.chat(next.request);
        drop(next);
        next.resolve(said(next.request, done));
      } catch (error) {
        const code = codeOf(error);
        if (passing.has(code)) {
          next.unsure ||= code === "timeout" || code === "disconnected" || code === "unavailable";
          later(error);
          break;
        }
        drop(next);
        next.reject(error);
      }
    }
    sending = false;
  }

  const drop = (entry: Pending) => {
    queue = queue.filter((other) => other !== entry);
  };

  const said = (
    request: ChatRequest,
    done: { message_id: string; delivery_id: number; at: number },
  ): ChatMessage => ({
    ...request,
    ...done,
    from: self.peerId,
    name: self.name,
    revoked: false,
  });

  function later(error?: unknown): void {
    if (retryTimer !== undefined || closed) return;
    const wait = retryAfterOf(error);
    retryTimer = setTimeout(() => {
      retryTimer = undefined;
      resume();
    }, wait ?? retryMs);
  }

  function resume(): void {
    void catchUp();
    void drain();
  }

  return {
    joined({ peerId, past, name, rev, resumed, same }) {
      const first = self.peerId === "";
      const readsOn = same || past.includes(self.peerId);
      self = { peerId, past, name };
      if (readsOn) {
        behind = true;
      } else {
        cursor = rev;
        release();
      }
      if (!same) {
        if (first && !resumed && past.length > 0) earlier = rev;
        // Under our new name it would be another message, and perhaps be there twice.
        for (const entry of queue.filter(({ unsure }) => unsure)) {
          drop(entry);
          entry.reject(localError("disconnected", "it is not known whether the message was stored"));
        }
      }
      resume();
      return readsOn;
    },

    take: (message) => arrived({ message }),
    update: (update) => arrived({ update }),

    send(text, { to, meta } = {}) {
      if (closed) return Promise.reject(localError("disconnected", "the meeting is over"));
      const request: ChatRequest = {
        client_id: crypto.randomUUID(),
        text,
        ...(to === undefined ? {} : { to }),
        ...(meta === undefined ? {} : { meta }),
      };
      return new Promise((resolve, reject) => {
        queue.push({ request, unsure: false, resolve, reject });
        void drain();
      });
    },

    revoke: (messageId) => signaling.chatRevoke(messageId),

    typing(to) {
      if (options.online()) signaling.typing(to).catch(() => {}); // the next keystroke says it again
    },

    async history() {
      const all: ChatMessage[] = [];
      for (let after = 0, more = true; more; ) {
        const page = await unhurried(() => signaling.chatSync(after, true));
        all.push(...page.messages);
        after = page.last_delivery_id;
        more = page.more;
      }
      return all;
    },

    isSelf: (peerId) => peerId === self.peerId || self.past.includes(peerId),
    earlier: () => earlier,

    close() {
      closed = true;
      clearTimeout(retryTimer);
      for (const { reject } of queue) reject(localError("disconnected", "the meeting is over"));
      queue = [];
    },
  };
}

/** Asks again as long as the answer is that we ask too often: a long history takes its time. */
async function unhurried<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (codeOf(error) !== "rate_limited") throw error;
      const wait = retryAfterOf(error);
      await new Promise((resolve) => setTimeout(resolve, wait ?? retryMs));
    }
  }
}

const place = (told: Told) => ("message" in told ? told.message : told.update).delivery_id;

function inOrder(page: ChatPage): Told[] {
  const all: Told[] = [
    ...page.messages.map((message) => ({ message })),
    ...page.updates.map((update) => ({ update })),
  ];
  return all.sort((a, b) => place(a) - place(b));
}
