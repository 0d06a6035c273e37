/**
 * The words on the wire (protocol 2), as the client sees them, and parsers that check what the server
 * sends before anything believes it. Field names are those of the wire.
 */

export interface MediaState {
  audio: boolean;
  video: boolean;
  screen: boolean;
  /** When the hand went up, in ms since 1970; null while it is down. */
  hand: number | null;
}

/** Hosts and co-hosts lead: what is forbidden to guests is not forbidden to them. */
export type Role = "host" | "cohost" | "guest";

export interface PeerInfo {
  peer_id: string;
  user_id: string;
  name: string;
  role: Role;
  state: "online" | "away";
  media: MediaState;
  /** Of its DTLS certificate; "" if it shows none. */
  fingerprint: string;
  /** Somebody whom the server trusts vouches for the user_id and the name. */
  verified: boolean;
  /** 1: it has the original client, without chat and signals: nobody here can connect with it. */
  protocol: number;
}

export interface PeerChange {
  peer_id: string;
  name?: string;
  role?: PeerInfo["role"];
  state?: PeerInfo["state"];
  media?: MediaState;
}

/** The net effect of all roster changes after `since` up to `rev`. */
export interface RosterDelta {
  meeting_id?: string;
  since: number;
  rev: number;
  joined: PeerInfo[];
  changed: PeerChange[];
  left: { peer_id: string; reason: string }[];
}

export interface Roster {
  meeting_id?: string;
  rev: number;
  peers: PeerInfo[];
  /** Ourselves, as the others see us. */
  self?: PeerInfo;
  meeting?: MeetingState;
}

export interface Policy {
  camera: boolean;
  speak: boolean;
  rename: boolean;
  chat: boolean;
  locked: boolean;
  lobby: boolean;
  /** Without host and co-host, the longest present takes over. */
  takeover: boolean;
  max_peers: number;
}

/** What the host can change, as everyone in the meeting knows it. */
export interface MeetingState {
  policy: Policy;
  /** There is a password. */
  password: boolean;
  /** Who was there and when is kept: people are to be told. */
  attendance: boolean;
  /** So many seconds after the last has left that goes, and what was said: people are to be told. */
  retention_s: number;
  /** The peer that all are to look at. */
  spotlight: string | null;
}

/** The meeting's state as of `rev`. */
export interface RoomState extends MeetingState {
  meeting_id?: string;
  rev: number;
}

/** What the host changes; what is absent stays. */
export type Control = Partial<Omit<Policy, "max_peers">> & {
  /** null: none from now on. */
  password?: string | null;
  spotlight?: string | null;
  /** Our own name for the request: asked again, it is not done twice. */
  request_id?: string;
};

export type ModerateAction =
  | "kick"
  | "ban"
  | "unban"
  | "mute"
  | "stop_video"
  | "promote"
  | "demote"
  | "admit"
  | "deny"
  | "end";

export interface Moderate {
  action: ModerateAction;
  peer_id?: string;
  /** Of who waits; `admit` and `deny` without one are for everybody. */
  ticket?: string;
  /** `deny`: all who wait from the same address as the one of the ticket. */
  network?: boolean;
  reason?: string;
  /** `kick` and `ban`: in the same step the meeting is locked. */
  lock?: boolean;
  /** `kick` and `ban`: in the same step all that come have to wait for a host. */
  lobby?: boolean;
  /** As of Control. */
  request_id?: string;
}

/** What was done to a peer: said to that one and to hosts. */
export interface Moderated {
  meeting_id?: string;
  action: string;
  peer_id: string;
  /** Absent when nobody did it: who takes over when the host has gone is promoted. */
  by?: string;
  reason?: string;
  at: number;
}

/** Who waits to be let in, for hosts. */
export interface Lobby {
  meeting_id?: string;
  rev: number;
  waiting: Waiter[];
}

export interface Waiter {
  /** To admit or deny by; it lets nobody in by itself. */
  ticket: string;
  user_id: string;
  name: string;
  memo: string;
  country?: string;
  since: number;
  /** A join token vouches for the `user_id`. */
  verified?: boolean;
  /** `kicked` or `banned`: how somebody from the same network or site was removed, who this may be. */
  like?: string;
}

/** `admitted` and `denied`: joining with the ticket does the rest. */
export interface Decided {
  meeting_id: string;
}

export interface Welcome {
  protocol: number;
  server: string;
  epoch: string;
  features: string[];
  limits: { sdp: number; candidate: number; batch: number; peers: number; chat: number; meta: number };
  /** By whose name we can be rung: the handshake's token is good. */
  sub?: string;
}

export interface JoinRequest {
  meeting_id: string;
  user_id: string;
  name: string;
  host_key?: string;
  password?: string;
  resume_token?: string;
  /** With the token: the page was loaded anew and has no connection to anybody. */
  fresh?: boolean;
  /** Of an application that vouches for the user. */
  token?: string;
  fingerprint?: string;
  /** For who lets people in. */
  memo?: string;
  /** Of a join that was answered with `waiting`. */
  ticket?: string;
  /** Of an earlier join: it spares the lobby. */
  admission_token?: string;
  /** The last resume token of a seat that was left: what is kept for that one is ours to read. */
  past_token?: string;
  /** Our own secret, by which an answer that was lost is asked for again. */
  attempt?: string;
  media: Pick<MediaState, "audio" | "video">;
}

export interface JoinAck {
  peer_id: string;
  rev: number;
  role: PeerInfo["role"];
  resume_token: string;
  resume_ttl_ms: number;
  resumed: boolean;
  peers: PeerInfo[];
  meeting: { name: string } & MeetingState;
  /** To be kept, and sent with later joins of this meeting. */
  admission_token?: string;
  /** The seats we had before, as far as we have shown that. */
  past_peer_ids: string[];
  ice_servers: IceServer[];
  ice_ttl_s: number;
}

export interface IceServer {
  urls: string[];
  username?: string;
  credential?: string;
}

export interface Candidate {
  candidate: string;
  sdpMid: string | null;
  sdpMLineIndex: number | null;
  usernameFragment: string | null;
}

/** What one peer says to another. `neg` names the offer that a message belongs to. */
export type SignalBody =
  | { kind: "offer"; neg: string; sdp: string; restart: boolean }
  | { kind: "answer"; neg: string; sdp: string }
  | { kind: "candidates"; neg: string; list: Candidate[]; end: boolean }
  /** "Please make me an offer." */
  | { kind: "renegotiate"; neg: string }
  /** "I have thrown our connection away; what comes next is a new one." */
  | { kind: "bye"; neg: string };

export type SignalOut = SignalBody & { to: string };
export type SignalIn = SignalBody & { from: string; seq: number };

/** `delivery_id` is its place in the meeting's one order. */
export interface ChatMessage {
  message_id: string;
  delivery_id: number;
  client_id: string;
  from: string;
  /** The sender's name when it was said: by now the sender may be gone. */
  name: string;
  to?: string;
  text: string;
  meta?: unknown;
  at: number;
  /** Taken back: the text is empty. */
  revoked: boolean;
}

export interface ChatUpdate {
  message_id: string;
  delivery_id: number;
  revoked: boolean;
}

export interface ChatRequest {
  client_id: string;
  text: string;
  to?: string;
  meta?: unknown;
}

export interface ChatDone {
  message_id: string;
  delivery_id: number;
  at: number;
}

export interface ChatPage {
  messages: ChatMessage[];
  /** Of earlier messages. */
  updates: ChatUpdate[];
  last_delivery_id: number;
  more: boolean;
}

export interface Typing {
  from: string;
  to?: string;
}

/** A pair as one side sees it. `refused`: the other showed a certificate that is not its own. */
export type PairState = "connecting" | "connected" | "disconnected" | "failed" | "refused";

/** What we say of our connection to another. */
export interface PairReport {
  peer_id: string;
  state: PairState;
  /** Sound comes, or there is none to come. */
  hears: boolean;
  /** Through a TURN server. */
  relayed: boolean;
  /** With much loss or delay. */
  poor: boolean;
}

/** What is done about a pair that is broken. */
export type Remedy = "restart" | "relay";

/** The server asks us to mend our connection to another. */
export interface MeshAdvice {
  meeting_id?: string;
  peer_id: string;
  action: Remedy;
  /** It is for us to make the offer. */
  offer: boolean;
}

/** What one hears of another. `poorly`, `relayed`: it does; `nothing`: connected, and nothing comes. */
export type Hearing =
  | "self"
  | "hears"
  | "relayed"
  | "poorly"
  | "nothing"
  | "connecting"
  | "disconnected"
  | "failed"
  | "refused"
  | "unknown";

/** Who hears whom, for those who lead. */
export interface Matrix {
  members: string[];
  /** Of each member, in their order: what it hears of each, in the same order. */
  rows: Hearing[][];
  broken: { a: string; b: string; tried: Remedy | null }[];
}

/** Somebody rings us, to have us in a meeting. */
export interface Invite {
  call_id: string;
  meeting_id: string;
  /** By the word of whom the server trusts. */
  from: { sub: string; name: string };
  expires_in_ms: number;
}

export interface InviteDone {
  call_id: string;
  expires_in_ms: number;
}

/** accepted, rejected, busy, cancelled, no_answer. */
export interface InviteState {
  call_id: string;
  state: string;
}

export interface Closed {
  code: string;
  reason: string;
  rejoin: boolean;
}

export interface ErrorReply {
  code: string;
  message: string;
  field?: string;
  retry_after_ms?: number;
  ref?: string;
  /** Of a `join` with the code `waiting`: join again with it when `admitted` has come. */
  ticket?: string;
}

export interface MeetingInfo {
  meeting_id: string;
  name: string;
  participants: number;
}

export interface CreatedMeeting {
  meeting_id: string;
  name: string;
  host_key: string;
  join_url: string;
}

/** What was received is not what the contract says. `path` names the field. */
export class MalformedMessage extends Error {
  constructor(
    readonly path: string,
    expected: string,
  ) {
    super(`${path}: expected ${expected}`);
    this.name = "MalformedMessage";
  }
}

// Readers. Each takes the value and the path that an error shall name.

type Reader<T> = (value: unknown, path: string) => T;
type Fields = Record<string, unknown>;

const object: Reader<Fields> = (value, path) => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new MalformedMessage(path, "an object");
  }
  return value as Fields;
};

const string: Reader<string> = (value, path) => {
  if (typeof value !== "string") throw new MalformedMessage(path, "a string");
  return value;
};

const id: Reader<string> = (value, path) => {
  const text = string(value, path);
  if (text === "") throw new MalformedMessage(path, "a non-empty string");
  return text;
};

const boolean: Reader<boolean> = (value, path) => {
  if (typeof value !== "boolean") throw new MalformedMessage(path, "a boolean");
  return value;
};

const number: Reader<number> = (value, path) => {
  if (typeof value !== "number" || !Number.isFinite(value)) throw new MalformedMessage(path, "a number");
  return value;
};

/** A revision, a count, a time: whole and not negative. */
const count: Reader<number> = (value, path) => {
  const n = number(value, path);
  if (!Number.isSafeInteger(n) || n < 0) throw new MalformedMessage(path, "a whole number");
  return n;
};

const oneOf =
  <T extends string>(...allowed: T[]): Reader<T> =>
  (value, path) => {
    if (!allowed.includes(value as T)) throw new MalformedMessage(path, allowed.join("|"));
    return value as T;
  };

const nullable =
  <T>(read: Reader<T>): Reader<T | null> =>
  (value, path) =>
    value === null || value === undefined ? null : read(value, path);

/** An absent or null list is an empty one: empty lists are left out on the wire. */
const list =
  <T>(read: Reader<T>): Reader<T[]> =>
  (value, path) => {
    if (value === undefined || value === null) return [];
    if (!Array.isArray(value)) throw new MalformedMessage(path, "a list");
    return value.map((item, i) => read(item, `${path}[${i}]`));
  };

/** `{[key]: value}` if the field is there, nothing if not. */
function optional<K extends string, T>(o: Fields, key: K, read: Reader<T>, path: string): { [P in K]?: T } {
  const value = o[key];
  if (value === undefined || value === null) return {};
  return { [key]: read(value, `${path}.${key}`) } as { [P in K]?: T };
}

const role = oneOf("host", "cohost", "guest");
const presence = oneOf("online", "away");

const media: Reader<MediaState> = (value, path) => {
  const o = object(value, path);
  return {
    audio: boolean(o.audio, `${path}.audio`),
    video: boolean(o.video, `${path}.video`),
    screen: boolean(o.screen ?? false, `${path}.screen`),
    hand: nullable(number)(o.hand, `${path}.hand`),
  };
};

const peer: Reader<PeerInfo> = (value, path) => {
  const o = object(value, path);
  return {
    peer_id: id(o.peer_id, `${path}.peer_id`),
    user_id: string(o.user_id, `${path}.user_id`),
    name: string(o.name, `${path}.name`),
    role: role(o.role, `${path}.role`),
    state: presence(o.state, `${path}.state`),
    media: media(o.media, `${path}.media`),
    fingerprint: string(o.fingerprint ?? "", `${path}.fingerprint`),
    verified: boolean(o.verified ?? false, `${path}.verified`),
    protocol: count(o.protocol ?? 2, `${path}.protocol`),
  };
};

const change: Reader<PeerChange> = (value, path) => {
  const o = object(value, path);
  return {
    peer_id: id(o.peer_id, `${path}.peer_id`),
    ...optional(o, "name", string, path),
    ...optional(o, "role", role, path),
    ...optional(o, "state", presence, path),
    ...optional(o, "media", media, path),
  };
};

const iceServer: Reader<IceServer> = (value, path) => {
  const o = object(value, path);
  const urls = typeof o.urls === "string" ? [o.urls] : list(id)(o.urls, `${path}.urls`);
  return { urls, ...optional(o, "username", string, path), ...optional(o, "credential", string, path) };
};

const candidate: Reader<Candidate> = (value, path) => {
  const o = object(value, path);
  return {
    candidate: string(o.candidate, `${path}.candidate`),
    sdpMid: nullable(string)(o.sdpMid, `${path}.sdpMid`),
    sdpMLineIndex: nullable(count)(o.sdpMLineIndex, `${path}.sdpMLineIndex`),
    usernameFragment: nullable(string)(o.usernameFragment, `${path}.usernameFragment`),
  };
};

const policy: Reader<Policy> = (value, path) => {
  const o = object(value, path);
  return {
    camera: boolean(o.camera, `${path}.camera`),
    speak: boolean(o.speak, `${path}.speak`),
    rename: boolean(o.rename, `${path}.rename`),
    chat: boolean(o.chat, `${path}.chat`),
    locked: boolean(o.locked, `${path}.locked`),
    lobby: boolean(o.lobby, `${path}.lobby`),
    takeover: boolean(o.takeover ?? false, `${path}.takeover`),
    max_peers: count(o.max_peers, `${path}.max_peers`),
  };
};

const meetingState: Reader<MeetingState> = (value, path) => {
  const o = object(value, path);
  return {
    policy: policy(o.policy, `${path}.policy`),
    password: boolean(o.password ?? false, `${path}.password`),
    attendance: boolean(o.attendance ?? false, `${path}.attendance`),
    retention_s: count(o.retention_s ?? 0, `${path}.retention_s`),
    spotlight: nullable(id)(o.spotlight, `${path}.spotlight`),
  };
};

const waiter: Reader<Waiter> = (value, path) => {
  const o = object(value, path);
  return {
    ticket: id(o.ticket, `${path}.ticket`),
    user_id: string(o.user_id, `${path}.user_id`),
    name: string(o.name, `${path}.name`),
    memo: string(o.memo ?? "", `${path}.memo`),
    ...optional(o, "country", string, path),
    since: count(o.since, `${path}.since`),
    ...optional(o, "verified", boolean, path),
    ...optional(o, "like", string, path),
  };
};

// Parsers, one per message.

export function parseWelcome(value: unknown): Welcome {
  const o = object(value, "welcome");
  const limits = object(o.limits, "welcome.limits");
  return {
    protocol: count(o.protocol, "welcome.protocol"),
    server: string(o.server, "welcome.server"),
    epoch: String(o.epoch ?? ""),
    features: list(string)(o.features, "welcome.features"),
    limits: {
      sdp: count(limits.sdp, "welcome.limits.sdp"),
      candidate: count(limits.candidate, "welcome.limits.candidate"),
      batch: count(limits.batch, "welcome.limits.batch"),
      peers: count(limits.peers, "welcome.limits.peers"),
      chat: count(limits.chat ?? 0, "welcome.limits.chat"),
      meta: count(limits.meta ?? 0, "welcome.limits.meta"),
    },
    ...(o.sub === undefined ? {} : { sub: id(o.sub, "welcome.sub") }),
  };
}

/** Reads any ack: its fields if it says `ok:true`, an ErrorReply if not. */
export function parseAck(value: unknown): { ok: true; fields: Fields } | { ok: false; error: ErrorReply } {
  const o = object(value, "ack");
  return boolean(o.ok, "ack.ok") ? { ok: true, fields: o } : { ok: false, error: parseErrorReply(o) };
}

export function parseErrorReply(value: unknown): ErrorReply {
  const o = object(value, "error");
  return {
    code: id(o.code, "error.code"),
    message: string(o.message ?? "", "error.message"),
    ...optional(o, "field", string, "error"),
    ...optional(o, "retry_after_ms", number, "error"),
    ...optional(o, "ref", string, "error"),
    ...optional(o, "ticket", string, "error"),
  };
}

export function parseJoinAck(value: unknown): JoinAck {
  const o = object(value, "join");
  const meeting = object(o.meeting, "join.meeting");
  return {
    peer_id: id(o.peer_id, "join.peer_id"),
    rev: count(o.rev, "join.rev"),
    role: role(o.role, "join.role"),
    resume_token: id(o.resume_token, "join.resume_token"),
    resume_ttl_ms: count(o.resume_ttl_ms, "join.resume_ttl_ms"),
    resumed: boolean(o.resumed ?? false, "join.resumed"),
    peers: list(peer)(o.peers, "join.peers"),
    meeting: {
      name: string(meeting.name ?? "", "join.meeting.name"),
      ...meetingState(meeting, "join.meeting"),
    },
    ...optional(o, "admission_token", id, "join"),
    past_peer_ids: list(id)(o.past_peer_ids ?? [], "join.past_peer_ids"),
    ...parseIce(o, "join"),
  };
}

export function parseIce(value: unknown, path = "ice"): { ice_servers: IceServer[]; ice_ttl_s: number } {
  const o = object(value, path);
  return {
    ice_servers: list(iceServer)(o.ice_servers, `${path}.ice_servers`),
    ice_ttl_s: number(o.ice_ttl_s ?? 0, `${path}.ice_ttl_s`),
  };
}

export function parseRosterDelta(value: unknown): RosterDelta {
  const o = object(value, "update");
  return {
    ...optional(o, "meeting_id", string, "update"),
    since: count(o.since, "update.since"),
    rev: count(o.rev, "update.rev"),
    joined: list(peer)(o.joined, "update.joined"),
    changed: list(change)(o.changed, "update.changed"),
    left: list((item, path) => {
      const left = object(item, path);
      return { peer_id: id(left.peer_id, `${path}.peer_id`), reason: string(left.reason, `${path}.reason`) };
    })(o.left, "update.left"),
  };
}

export function parseRoster(value: unknown): Roster {
  const o = object(value, "roster");
  return {
    ...optional(o, "meeting_id", string, "roster"),
    rev: count(o.rev, "roster.rev"),
    peers: list(peer)(o.peers, "roster.peers"),
    ...optional(o, "self", peer, "roster"),
    ...optional(o, "meeting", meetingState, "roster"),
  };
}

export function parseSignal(value: unknown): SignalIn {
  const o = object(value, "signal");
  const head = {
    from: id(o.from, "signal.from"),
    seq: count(o.seq ?? 0, "signal.seq"),
    neg: string(o.neg ?? "", "signal.neg"),
  };
  const kind = oneOf("offer", "answer", "candidates", "renegotiate", "bye")(o.kind, "signal.kind");
  switch (kind) {
    case "offer":
      return {
        ...head,
        kind,
        sdp: id(o.sdp, "signal.sdp"),
        restart: boolean(o.restart ?? false, "signal.restart"),
      };
    case "answer":
      return { ...head, kind, sdp: id(o.sdp, "signal.sdp") };
    case "candidates":
      return {
        ...head,
        kind,
        list: list(candidate)(o.list, "signal.list"),
        end: boolean(o.end ?? false, "signal.end"),
      };
    default:
      return { ...head, kind };
  }
}

const chatMessage: Reader<ChatMessage> = (value, path) => {
  const o = object(value, path);
  return {
    message_id: id(o.message_id, `${path}.message_id`),
    delivery_id: count(o.delivery_id, `${path}.delivery_id`),
    client_id: string(o.client_id, `${path}.client_id`),
    from: id(o.from, `${path}.from`),
    name: string(o.name, `${path}.name`),
    ...optional(o, "to", string, path),
    text: string(o.text, `${path}.text`),
    ...(o.meta === undefined ? {} : { meta: o.meta }),
    at: count(o.at, `${path}.at`),
    revoked: boolean(o.revoked ?? false, `${path}.revoked`),
  };
};

const chatUpdate: Reader<ChatUpdate> = (value, path) => {
  const o = object(value, path);
  return {
    message_id: id(o.message_id, `${path}.message_id`),
    delivery_id: count(o.delivery_id, `${path}.delivery_id`),
    revoked: boolean(o.revoked, `${path}.revoked`),
  };
};

/** What speaks of a meeting names it; who is in one meeting only need not look. */
export type InMeeting<T> = T & { meeting_id?: string };

const inMeeting = <T extends object>(read: Reader<T>, path: string) => {
  return (value: unknown): InMeeting<T> => ({
    ...read(value, path),
    ...optional(object(value, path), "meeting_id", string, path),
  });
};

export const parseChat = inMeeting(chatMessage, "chat");
export const parseChatUpdate = inMeeting(chatUpdate, "chat_update");
export const parseTyping = inMeeting<Typing>((value, path) => {
  const o = object(value, path);
  return { from: id(o.from, `${path}.from`), ...optional(o, "to", string, path) };
}, "typing");

export function parseChatDone(value: unknown): ChatDone {
  const o = object(value, "chat ack");
  return {
    message_id: id(o.message_id, "chat ack.message_id"),
    delivery_id: count(o.delivery_id, "chat ack.delivery_id"),
    at: count(o.at, "chat ack.at"),
  };
}

export function parseChatPage(value: unknown): ChatPage {
  const o = object(value, "chat_sync ack");
  return {
    messages: list(chatMessage)(o.messages, "chat_sync ack.messages"),
    updates: list(chatUpdate)(o.updates, "chat_sync ack.updates"),
    last_delivery_id: count(o.last_delivery_id, "chat_sync ack.last_delivery_id"),
    more: boolean(o.more, "chat_sync ack.more"),
  };
}

const remedy = oneOf("restart", "relay");

export function parseMeshAdvice(value: unknown): MeshAdvice {
  const o = object(value, "mesh_advice");
  return {
    ...optional(o, "meeting_id", string, "mesh_advice"),
    peer_id: id(o.peer_id, "mesh_advice.peer_id"),
    action: remedy(o.action, "mesh_advice.action"),
    offer: boolean(o.offer, "mesh_advice.offer"),
  };
}

const hearings: Record<string, Hearing> = {
  "-": "self",
  "+": "hears",
  "~": "relayed",
  "!": "poorly",
  n: "nothing",
  c: "connecting",
  d: "disconnected",
  f: "failed",
  x: "refused",
};

export const parseMeshMatrix = inMeeting<Matrix>((value, path) => {
  const o = object(value, path);
  const members = list(id)(o.members, `${path}.members`);
  const rows = list(string)(o.rows, `${path}.rows`);
  if (rows.length !== members.length || rows.some((row) => row.length !== members.length)) {
    throw new MalformedMessage(`${path}.rows`, "a letter for each pair");
  }
  return {
    members,
    // A letter that is newer than we are says nothing to us.
    rows: rows.map((row) => [...row].map((letter) => hearings[letter] ?? "unknown")),
    broken: list((item, path) => {
      const pair = object(item, path);
      return {
        a: id(pair.a, `${path}.a`),
        b: id(pair.b, `${path}.b`),
        tried: nullable(remedy)(pair.tried, `${path}.tried`),
      };
    })(o.broken, `${path}.broken`),
  };
}, "mesh_matrix");

export function parseInvite(value: unknown): Invite {
  const o = object(value, "invite");
  const from = object(o.from, "invite.from");
  return {
    call_id: id(o.call_id, "invite.call_id"),
    meeting_id: id(o.meeting_id, "invite.meeting_id"),
    from: { sub: id(from.sub, "invite.from.sub"), name: string(from.name, "invite.from.name") },
    expires_in_ms: count(o.expires_in_ms, "invite.expires_in_ms"),
  };
}

export function parseInviteDone(value: unknown): InviteDone {
  const o = object(value, "invite ack");
  return {
    call_id: id(o.call_id, "invite ack.call_id"),
    expires_in_ms: count(o.expires_in_ms, "invite ack.expires_in_ms"),
  };
}

export function parseInviteState(value: unknown): InviteState {
  const o = object(value, "invite state");
  return { call_id: id(o.call_id, "invite state.call_id"), state: id(o.state, "invite state.state") };
}

export function parseClosed(value: unknown): Closed {
  const o = object(value, "closed");
  return {
    code: id(o.code, "closed.code"),
    reason: string(o.reason ?? "", "closed.reason"),
    rejoin: boolean(o.rejoin ?? false, "closed.rejoin"),
  };
}

export function parseRoomState(value: unknown): RoomState {
  const o = object(value, "room_state");
  return {
    ...optional(o, "meeting_id", string, "room_state"),
    rev: count(o.rev, "room_state.rev"),
    ...meetingState(o, "room_state"),
  };
}

export function parseModerated(value: unknown): Moderated {
  const o = object(value, "moderated");
  return {
    ...optional(o, "meeting_id", string, "moderated"),
    action: id(o.action, "moderated.action"),
    peer_id: id(o.peer_id, "moderated.peer_id"),
    ...optional(o, "by", id, "moderated"),
    ...optional(o, "reason", string, "moderated"),
    at: count(o.at, "moderated.at"),
  };
}

export function parseLobby(value: unknown): Lobby {
  const o = object(value, "lobby");
  return {
    ...optional(o, "meeting_id", string, "lobby"),
    rev: count(o.rev, "lobby.rev"),
    waiting: list(waiter)(o.waiting, "lobby.waiting"),
  };
}

export function parseDecided(value: unknown): Decided {
  const o = object(value, "decided");
  return { meeting_id: id(o.meeting_id, "decided.meeting_id") };
}

export function parseDraining(value: unknown): { reconnect_after_ms: number } {
  const o = object(value, "server_draining");
  return { reconnect_after_ms: count(o.reconnect_after_ms ?? 0, "server_draining.reconnect_after_ms") };
}

export function parseMeetingInfo(value: unknown): MeetingInfo {
  const o = object(value, "meeting");
  return {
    meeting_id: id(o.meeting_id, "meeting.meeting_id"),
    name: string(o.name ?? "", "meeting.name"),
    participants: count(o.participants ?? 0, "meeting.participants"),
  };
}

export function parseCreatedMeeting(value: unknown): CreatedMeeting {
  const o = object(value, "created");
  return {
    meeting_id: id(o.meeting_id, "created.meeting_id"),
    name: string(o.name ?? "", "created.name"),
    host_key: string(o.host_key, "created.host_key"),
    join_url: string(o.join_url ?? "", "created.join_url"),
  };
}
