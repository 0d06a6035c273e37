/**
 * The connection to the server: events in, requests with acks out. It knows Socket.IO and the wire,
 * nothing of meetings under way; whoever holds it decides what a new connection means.
 */
import { io } from "socket.io-client";
import { codeOf, localError, SignalError } from "./errors.ts";
import { createEvents, type Events } from "./events.ts";
import {
  type ChatDone,
  type ChatMessage,
  type ChatPage,
  type ChatRequest,
  type ChatUpdate,
  type Closed,
  type Control,
  type Decided,
  type InMeeting,
  type Invite,
  type InviteDone,
  type InviteState,
  type JoinAck,
  type JoinRequest,
  type Lobby,
  type Matrix,
  type MediaState,
  type MeshAdvice,
  type Moderate,
  type Moderated,
  type PairReport,
  parseAck,
  parseChat,
  parseChatDone,
  parseChatPage,
  parseChatUpdate,
  parseClosed,
  parseDecided,
  parseDraining,
  parseInvite,
  parseInviteDone,
  parseInviteState,
  parseJoinAck,
  parseLobby,
  parseMeshAdvice,
  parseMeshMatrix,
  parseModerated,
  parseRoomState,
  parseRoster,
  parseRosterDelta,
  parseSignal,
  parseTyping,
  parseWelcome,
  type RoomState,
  type Roster,
  type RosterDelta,
  type SignalIn,
  type SignalOut,
  type Typing,
  type Welcome,
} from "./protocol.ts";
import { type Refusal, refusalOf } from "./refusal.ts";
import { createTransports, type Manager, openMs, preferred } from "./transports.ts";

export type { Refusal } from "./refusal.ts";

export interface SignalingEvents {
  /** Connected, and the server is ready to be spoken to. Comes again after each reconnect. */
  ready: Welcome;
  /** The connection is lost. It is being made again, unless `final`. `since`: when it was last heard of, in ms since 1970. */
  lost: { final: boolean; since: number };
  /** The server, or something before it, does not take the connection. It is tried again, in a while. */
  refused: Refusal;
  delta: RosterDelta;
  roster: Roster;
  signal: SignalIn;
  chat: InMeeting<ChatMessage>;
  chatUpdate: InMeeting<ChatUpdate>;
  typing: InMeeting<Typing>;
  state: RoomState;
  moderated: Moderated;
  /** To hosts alone. */
  lobby: Lobby;
  /** We are to mend our connection to somebody. */
  advice: MeshAdvice;
  /** To those who lead alone. */
  matrix: InMeeting<Matrix>;
  /** Join again, with the ticket. */
  admitted: Decided;
  denied: Decided;
  /** Somebody rings. It asks for a token in the handshake, as do the next two. */
  invite: Invite;
  /** What became of our own ringing. */
  inviteUpdate: InviteState;
  /** Another device of ours has seen to it, or it is over: stop ringing. */
  inviteHandled: InviteState;
  closed: Closed;
  /** The server sent something that is not in the contract. It was ignored. */
  malformed: { event: string; error: Error };
}

export interface Signaling {
  readonly on: Events<SignalingEvents>["on"];
  ready(): boolean;
  /** The network may be another one: tries the connection, or at once to make one. */
  check(): void;
  /** Our seat's token, by which a server that is full lets us back in. */
  holds(resumeToken: string | undefined): void;
  /** Whether the server does what this feature names. */
  knows(feature: string): boolean;
  join(request: JoinRequest): Promise<JoinAck>;
  sync(haveRev: number): Promise<Roster>;
  signal(message: SignalOut): Promise<void>;
  mediaState(media: MediaState): Promise<void>;
  rename(name: string): Promise<void>;
  chat(request: ChatRequest): Promise<ChatDone>;
  /** What came after a delivery; `own`: with what we said ourselves. */
  chatSync(after: number, own?: boolean): Promise<ChatPage>;
  chatRevoke(messageId: string): Promise<void>;
  typing(to?: string): Promise<void>;
  /** Rings somebody, by the `sub` of their token, into a meeting that we are in. Resolves when it rings. */
  invite(toSub: string, meetingId?: string): Promise<InviteDone>;
  inviteAnswer(callId: string, answer: "accept" | "reject" | "busy"): Promise<void>;
  inviteCancel(callId: string): Promise<void>;
  /** How it stands with our connections. */
  meshReport(pairs: PairReport[]): Promise<void>;
  /** For hosts: changes what the meeting allows. */
  control(change: Control): Promise<void>;
  /** For hosts: does something to someone. */
  moderate(request: Moderate): Promise<void>;
  /** `mayReturn`: for the others we have left, but our token brings us back for a while. */
  leave(mayReturn?: boolean): Promise<void>;
  /** Ends the connection for good. */
  close(): void;
  /** Likewise, as if it had broken: the server is not told that we leave. */
  drop(): void;
}

/** What is used of a socket.io-client socket. Tests put their own in its place. */
export interface SocketLike {
  readonly connected: boolean;
  /** It comes back by itself. */
  readonly active: boolean;
  auth: { [key: string]: unknown } | ((take: (data: object) => void) => void);
  on(event: string, listener: (...args: never[]) => void): unknown;
  timeout(ms: number): { emitWithAck(event: string, ...args: unknown[]): Promise<unknown> };
  connect(): unknown;
  disconnect(): unknown;
  readonly io: Manager & {
    on(event: "open" | "ping", listener: () => void): unknown;
    reconnection(on: boolean): unknown;
    /** Lets go of the engine, whatever state it is in, and does not come back by itself. */
    _close(): unknown;
    readonly engine: { close(): unknown };
  };
}

const ackTimeoutMs = 5_000;
/** A join waits for a database, perhaps one that is just coming back. */
const joinTimeoutMs = 10_000;
const welcomeTimeoutMs = 5_000;
/** Between two tries of a connection that was refused: it doubles, and is up to a half longer by chance. */
const refusedMs = { first: 1_000, most: 30_000 };
/** A link that the network may have left behind answers within this, or is given up. */
const checkMs = 3_000;
/** Longer than any heartbeat: what was not heard of for so long slept, or was cut off. */
const silentMs = 15_000;

/** `token`: who we are, by the word of an application. With it others can ring us. */
export function openSocket(base: string, token?: string): SocketLike {
  const url = new URL("socket.io/", base);
  return io(url.origin, {
    path: url.pathname,
    ...(token === undefined ? {} : { auth: { token } }),
    ...preferred,
    transports: [...preferred.transports],
    reconnectionDelay: 300,
    reconnectionDelayMax: 3_000,
    timeout: openMs[0],
  });
}

export function createSignaling(socket: SocketLike): Signaling {
  const events = createEvents<SignalingEvents>();
  let ready = false;
  let features: string[] = [];
  let ended = false;
  let reconnectAfterMs = 300;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let refusals = 0;
  let checkedAt = Number.NEGATIVE_INFINITY;
  let heardAt = Date.now();
  let silence = { from: 0, to: 0 };
  const transports = createTransports(socket.io);

  function heard(): void {
    const now = Date.now();
    if (now - heardAt > silentMs) silence = { from: heardAt, to: now };
    heardAt = now;
  }

  /** A sleeper is handed on waking what came before its connection was given up. */
  const heardLast = () => (heardAt - silence.to < silentMs ? silence.from : heardAt);

  function listen<T>(event: string, parse: (value: unknown) => T, take: (message: T) => void): void {
    socket.on(event, (value: unknown) => {
      heard();
      let message: T;
      try {
        message = parse(value);
      } catch (error) {
        events.emit("malformed", { event, error: error as Error });
        return;
      }
      take(message);
    });
  }

  function reconnectIn(ms: number): void {
    clearTimeout(timer);
    timer = setTimeout(() => socket.connect(), ms);
  }

  /** Connected to something that does not greet: try afresh. */
  function awaitWelcome(): void {
    clearTimeout(timer);
    timer = setTimeout(() => {
      transports.hung();
      socket.disconnect();
      reconnectIn(reconnectAfterMs);
    }, welcomeTimeoutMs);
  }

  /** Gives up a link of which nothing is heard. The server is not told: as far as it knows it broke, and our seat is kept. */
  function abandon(): void {
    socket.io._close();
    if (!ended) socket.connect();
  }

  socket.io.on("open", awaitWelcome);
  socket.io.on("ping", heard);
  socket.on("connect", awaitWelcome);

  socket.on("connect_error", (error: unknown) => {
    if (ended) return;
    const refusal = refusalOf(error);
    if (refusal) events.emit("refused", refusal);
    else if ((error as Error).message === "timeout") transports.hung();
    else transports.failed();
    if (ended) return;
    if (socket.active) {
      // The library tries again within seconds: right for a link, not for a server that has asked for time.
      if (!refusal || (!refusal.deliberate && refusal.retryAfterMs === undefined)) return;
      socket.disconnect();
    }
    const backoff = Math.min(refusedMs.most, refusedMs.first * 2 ** Math.min(refusals++, 10));
    reconnectIn(Math.max(refusal?.retryAfterMs ?? 0, backoff) * (1 + Math.random() / 2));
  });

  socket.on("disconnect", (reason: string) => {
    clearTimeout(timer);
    const wasReady = ready;
    ready = false;
    // socket.io-client comes back by itself unless the server has cut the connection on purpose.
    if (!ended && reason === "io server disconnect") reconnectIn(reconnectAfterMs);
    reconnectAfterMs = 300;
    if (wasReady || ended) events.emit("lost", { final: ended, since: heardLast() });
  });

  listen("welcome", parseWelcome, (welcome) => {
    clearTimeout(timer);
    ready = true;
    refusals = 0;
    transports.worked();
    features = welcome.features;
    events.emit("ready", welcome);
  });
  listen("update_participants", parseRosterDelta, (delta) => events.emit("delta", delta));
  listen("roster", parseRoster, (roster) => events.emit("roster", roster));
  listen("signal", parseSignal, (signal) => events.emit("signal", signal));
  listen("room_state", parseRoomState, (state) => events.emit("state", state));
  listen("moderated", parseModerated, (moderated) => events.emit("moderated", moderated));
  listen("lobby", parseLobby, (lobby) => events.emit("lobby", lobby));
  listen("mesh_advice", parseMeshAdvice, (advice) => events.emit("advice", advice));
  listen("mesh_matrix", parseMeshMatrix, (matrix) => events.emit("matrix", matrix));
  listen("admitted", parseDecided, (decided) => events.emit("admitted", decided));
  listen("denied", parseDecided, (decided) => events.emit("denied", decided));
  listen("server_draining", parseDraining, ({ reconnect_after_ms }) => {
    reconnectAfterMs = reconnect_after_ms;
  });
  listen("chat", parseChat, (message) => events.emit("chat", message));
  listen("chat_update", parseChatUpdate, (update) => events.emit("chatUpdate", update));
  listen("typing", parseTyping, (typing) => events.emit("typing", typing));
  listen("invite", parseInvite, (invite) => events.emit("invite", invite));
  listen("invite_update", parseInviteState, (state) => events.emit("inviteUpdate", state));
  listen("invite_handled", parseInviteState, (state) => events.emit("inviteHandled", state));
  listen("closed", parseClosed, (closed) => {
    if (!closed.rejoin) ended = true;
    events.emit("closed", closed);
  });

  async function request(event: string, payload: object, timeoutMs = ackTimeoutMs) {
    if (!ready) throw localError("disconnected", "not connected");
    let answer: unknown;
    try {
      answer = await socket.timeout(timeoutMs).emitWithAck(event, payload);
    } catch (cause) {
      throw ready
        ? localError("timeout", `no answer to ${event}`, cause)
        : localError("disconnected", `the connection was lost during ${event}`, cause);
    }
    heard();
    const ack = checked(event, () => parseAck(answer));
    if (!ack.ok) throw new SignalError(ack.error);
    return ack.fields;
  }

  return {
    on: events.on,
    ready: () => ready,
    check() {
      const now = performance.now();
      if (ended || now - checkedAt < 1_000) return; // the same news comes in several ways
      checkedAt = now;
      if (ready) {
        request("heartbeat", {}, checkMs).catch((error) => {
          if (codeOf(error) === "timeout") abandon();
        });
        return;
      }
      refusals = 0;
      clearTimeout(timer);
      socket.disconnect();
      socket.connect();
    },
    holds(resumeToken) {
      const { resume_token: _, ...auth } = typeof socket.auth === "function" ? {} : (socket.auth ?? {});
      socket.auth = resumeToken === undefined ? auth : { ...auth, resume_token: resumeToken };
    },
    knows: (feature) => features.includes(feature),
    async join(request_) {
      const fields = await request("join", { ...request_, SDP: "", CANDIDATE: "", v: 2 }, joinTimeoutMs);
      return checked("join", () => parseJoinAck(fields));
    },
    async sync(haveRev) {
      const fields = await request("sync", { have_rev: haveRev });
      return checked("sync", () => parseRoster(fields));
    },
    async signal(message) {
      await request("signal", message);
    },
    async mediaState(media) {
      await request("media_state", media);
    },
    async rename(name) {
      await request("rename", { name });
    },
    async chat(message) {
      const fields = await request("chat", message);
      return checked("chat", () => parseChatDone(fields));
    },
    async chatSync(after, own = false) {
      const fields = await request("chat_sync", { after_delivery_id: after, own });
      return checked("chat_sync", () => parseChatPage(fields));
    },
    async chatRevoke(messageId) {
      await request("chat_revoke", { message_id: messageId });
    },
    async typing(to) {
      await request("typing", to === undefined ? {} : { to });
    },
    async meshReport(pairs) {
      await request("mesh_report", { pairs });
    },
    async control(change) {
      await request("control", change);
    },
    async moderate(request_) {
      await request("moderate", request_);
    },
    async invite(toSub, meetingId) {
      const fields = await request("invite", {
        to_sub: toSub,
        ...(meetingId === undefined ? {} : { meeting_id: meetingId }),
      });
      return checked("invite", () => parseInviteDone(fields));
    },
    async inviteAnswer(callId, answer) {
      await request("invite_answer", { call_id: callId, answer });
    },
    async inviteCancel(callId) {
      await request("invite_cancel", { call_id: callId });
    },
    async leave(mayReturn = false) {
      await request("leave", mayReturn ? { may_return: true } : {});
    },
    close() {
      const connected = socket.connected;
      ended = true;
      clearTimeout(timer);
      socket.disconnect();
      if (!connected) events.emit("lost", { final: true, since: heardLast() }); // it says nothing of what was lost before
    },
    drop() {
      ended = true;
      clearTimeout(timer);
      socket.io.reconnection(false);
      socket.io.engine?.close(); // none while the first is being opened, or the next
    },
  };
}

function checked<T>(event: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    throw localError("malformed", `answer to ${event}`, cause);
  }
}
