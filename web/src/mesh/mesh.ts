/**
 * One participation in one meeting: the roster, a Peer for everyone in it, and coming back after the
 * signaling connection was lost. Media never stops for that: peers live as long as we are who we are.
 */
import { enter } from "./admission.ts";
import type { Api } from "./api.ts";
import type { Wish } from "./budget.ts";
import { type Chat, createChat } from "./chat.ts";
import { codeOf, localError, SignalError } from "./errors.ts";
import { createEvents, type Events } from "./events.ts";
import { createFiles, type Files } from "./files.ts";
import { createOutbox } from "./outbox.ts";
import { createPeer, noTracks, type Peer, type PeerState, type Tracks } from "./peer.ts";
import type {
  ChatMessage,
  ChatUpdate,
  Control,
  IceServer,
  JoinAck,
  JoinRequest,
  MediaState,
  MeetingState,
  Moderate,
  Moderated,
  PeerInfo,
  Policy,
  Roster,
  RosterDelta,
  SignalIn,
  Typing,
  Waiter,
} from "./protocol.ts";
import { type Quality, unknownQuality } from "./quality.ts";
import { createRoster, type RosterDiff, type RosterView } from "./roster.ts";
import { browserRtc, type Identity, type RtcEnvironment } from "./rtc.ts";
import type { Signaling } from "./signaling.ts";
import { listenTo } from "./speakers.ts";
import { safetyNumber } from "./trust.ts";
import { createUplink } from "./uplink.ts";

/** `waiting`: in the lobby. `reconnecting`: no signaling at present; media flows on. */
export type MeshStatus = "idle" | "joining" | "waiting" | "joined" | "reconnecting" | "ended";

export interface PeerView {
  info: PeerInfo;
  state: PeerState;
  tracks: Tracks;
  speaking: boolean;
  quality: Quality;
  /**
   * `verified`: it has the certificate of the roster, and no other was let in. `unverified`: it shows none.
   * `refused`: it came with another certificate, or the roster has changed its mind.
   */
  trust: "verified" | "unverified" | "refused";
}

export interface MeshView {
  status: MeshStatus;
  selfId: string;
  /** As the others see us. */
  name: string;
  hand: number | null;
  role: PeerInfo["role"];
  meetingName: string;
  policy: Policy | null;
  /** All that the host can change, the policy too. */
  meeting: MeetingState | null;
  peers: PeerView[];
  /** Who waits to be let in, if we lead. */
  waiting: Waiter[];
  /** Spares the lobby when we join this meeting another time; "" if it has none for us. */
  admissionToken: string;
  /** To be compared by word of mouth: the same for all who see the same certificates. Null if there is none. */
  safetyNumber: string | null;
}

export interface MeshEvents {
  /** view() has changed. */
  change: undefined;
  joined: PeerInfo;
  left: { peer: PeerInfo; reason: string };
  /** Someone else has said something, to all or to us. */
  message: ChatMessage;
  /** A message was taken back. */
  revoked: ChatUpdate;
  typing: Typing;
  /** Somebody is fetching a file that we share. */
  sending: { peerId: string; id: string; done: number; total: number };
  /** A host has done something to us or, if we lead, to anybody. What is switched off so, we obey. */
  moderated: Moderated;
  /** Out of the meeting, not by our own wish. */
  ended: { code: string };
  /** Nothing the user can act on; for the console. */
  trouble: unknown;
}

export interface JoinOptions {
  meetingId: string;
  name: string;
  hostKey?: string;
  password?: string;
  /** A join token: who we are, by the word of the application that embeds us. */
  token?: string;
  /** For who lets people in. */
  memo?: string;
  admissionToken?: string;
  /** Of a page that was here before this one: take its seat. `resume_expired` if that is gone. */
  resumeToken?: string;
}

/** What lets an HTTP beacon say that we left. */
export interface Seat {
  peer_id: string;
  resume_token: string;
}

export interface Mesh {
  readonly chat: Chat;
  readonly files: Files;
  readonly on: Events<MeshEvents>["on"];
  view(): MeshView;
  /** The peers by peer_id. Each one's connection() is its RTCPeerConnection, for statistics and debugging. */
  peers(): ReadonlyMap<string, Peer>;
  join(options: JoinOptions): Promise<void>;
  /** What we send. May be called at any time. */
  setTracks(tracks: Tracks): void;
  /** What we say of it to the others. May be called at any time. */
  setMedia(media: MediaState): void;
  rename(name: string): Promise<void>;
  /** For who leads: changes what the meeting allows. */
  control(change: Control): Promise<void>;
  /** For who leads: lets in, mutes, removes. */
  moderate(request: Moderate): Promise<void>;
  /** What of a peer is shown here, so that it sends no more than that. */
  show(peerId: string, wish: Wish): void;
  /** Out at once, and for good. Returns the seat that was left, for a beacon. */
  leave(): Seat | null;
  /** Ends all but the seat, and returns it: for a page that goes, and whose next may take it. */
  quit(): Seat | null;
}

export interface MeshOptions {
  signaling: Signaling;
  api: Pick<Api, "ice">;
  rtc?: RtcEnvironment;
  /** Media goes through a TURN server, so that the others do not learn our addresses. Without one there is none. */
  relayOnly?: boolean;
}

/** The first join waits this long for a connection. */
const connectTimeoutMs = 15_000;
/** Codes after which joining again may succeed without anyone doing anything. */
const passing = new Set([
  "rate_limited",
  "unavailable",
  "server_draining",
  "server_full",
  "too_many_from_ip",
  "internal",
  "timeout",
  "malformed",
]);
const maxPending = 64;

export function createMesh({ signaling, api, rtc = browserRtc, relayOnly = false }: MeshOptions): Mesh {
  const events = createEvents<MeshEvents>();
  const peers = new Map<string, Peer>();
  let status: MeshStatus = "idle";
  let tracks: Tracks = noTracks;
  let media: MediaState = { audio: false, video: false, screen: false, hand: null };

  // Who we are; set by join and resume.
  let request: JoinRequest | undefined;
  let seat: Seat | undefined;
  let roster: RosterView = createRoster("");
  let role: PeerInfo["role"] = "guest";
  let ownName = "";
  let hand: number | null = null;
  let identity: Identity | null = null;
  let number: string | null = null;
  let meetingName = "";
  let meeting: MeetingState | null = null;
  let waiting: Waiter[] = [];
  let iceServers: IceServer[] = [];
  let iceTimer: ReturnType<typeof setTimeout> | undefined;
  let rejoinTimer: ReturnType<typeof setTimeout> | undefined;
  let rejoinAttempts = 0;
  let negs = 0;

  // What came before it can be understood.
  let pendingDeltas: RosterDelta[] = [];
  let strangers: SignalIn[] = [];
  let syncing = false;

  const trouble = (error: unknown) => events.emit("trouble", error);
  const changed = () => events.emit("change", undefined);
  const online = () => status === "joined" && signaling.ready();

  // Both run while we are in the meeting.
  let uplink: ReturnType<typeof createUplink> | undefined;
  let ears: ReturnType<typeof listenTo> | undefined;

  const outbox = createOutbox({
    ready: online,
    send: (message) => signaling.signal(message),
    onError(error) {
      trouble(error);
      if (codeOf(error) === "not_joined" && status === "joined") {
        // The server has lost us, though the connection holds: take the seat again.
        status = "reconnecting";
        changed();
        void rejoin();
      }
    },
  });

  const chat = createChat({
    signaling,
    online,
    onMessage: (message) => events.emit("message", message),
    onUpdate: (update) => events.emit("revoked", update),
    onError: trouble,
  });

  const files = createFiles({
    open: (peerId, label) => peers.get(peerId)?.open(label) ?? null,
    present: (peerId) => peers.has(peerId),
  });

  // Peers.

  function addPeer(info: PeerInfo, offers: boolean): void {
    const peerId = info.peer_id;
    peers.set(
      peerId,
      createPeer({
        selfId: seat?.peer_id ?? "",
        peerId,
        offers,
        rtc,
        iceServers: () => iceServers,
        relayOnly,
        ...(identity ? { certificates: [identity.certificate] } : {}),
        fingerprint: info.fingerprint,
        nextNeg: () => `${seat?.peer_id}-${++negs}`,
        send: (body) => outbox.push(peerId, body),
        online,
        tracks,
        onChannel(channel) {
          const told = (id: string, done: number, total: number) =>
            events.emit("sending", { peerId, id, done, total });
          if (!files.accept(channel, told)) channel.close();
        },
        onChange() {
          uplink?.divide();
          changed();
        },
        onError: trouble,
      }),
    );
    const waiting = strangers.filter((signal) => signal.from === peerId);
    strangers = strangers.filter((signal) => signal.from !== peerId);
    for (const signal of waiting) peers.get(peerId)?.receive(signal);
  }

  function removePeer(peerId: string): void {
    peers.get(peerId)?.close();
    peers.delete(peerId);
    outbox.drop(peerId);
  }

  /** `offers`: we are the newcomer to those who are new in the list. */
  function follow(diff: RosterDiff, offers: boolean): void {
    for (const { peer, reason } of diff.left) {
      removePeer(peer.peer_id);
      events.emit("left", { peer, reason });
    }
    for (const peer of diff.joined) {
      addPeer(peer, offers);
      if (!offers) events.emit("joined", peer);
    }
    if (diff.joined.length + diff.left.length > 0) {
      uplink?.divide();
      void renumber();
    }
    changed();
  }

  async function renumber(): Promise<void> {
    const all = () => [identity?.fingerprint ?? "", ...[...peers.values()].map((peer) => peer.fingerprint)];
    const asked = all();
    const next = await safetyNumber(asked);
    // Meanwhile someone may have come, whose own renumbering is under way.
    if (all().join() !== asked.join()) return;
    number = next;
    changed();
  }

  // Roster.

  function takeDelta(delta: RosterDelta): void {
    if (!ours(delta.meeting_id)) return;
    const diff = status === "joined" || status === "reconnecting" ? roster.apply(delta) : "gap";
    if (diff === "old") return;
    if (diff === "gap") {
      pendingDeltas = [...pendingDeltas, delta].slice(-maxPending);
      void sync();
      return;
    }
    const self = delta.changed.find((change) => change.peer_id === seat?.peer_id);
    if (self?.role) role = self.role;
    if (self?.name !== undefined) ownName = self.name;
    if (self?.media) hand = self.media.hand;
    follow(diff, false);
  }

  function takePending(): void {
    const deltas = pendingDeltas;
    pendingDeltas = [];
    for (const delta of deltas) takeDelta(delta);
  }

  async function sync(): Promise<void> {
    if (syncing || !online()) return; // a rejoin brings the whole roster
    syncing = true;
    try {
      const full = await signaling.sync(roster.rev());
      if (status === "joined") takeWhole(full);
    } catch (error) {
      trouble(error);
    } finally {
      syncing = false;
    }
    takePending();
  }

  function takeWhole(full: Roster): void {
    if (full.rev < roster.rev()) return;
    if (full.self) role = full.self.role;
    if (full.meeting) meeting = full.meeting;
    follow(roster.replace(full.rev, full.peers), false);
  }

  const ours = (meetingId: string | undefined) =>
    meetingId === undefined || meetingId === request?.meeting_id;

  // Joining and coming back.

  function take(ack: JoinAck): void {
    const same = ack.resumed && ack.peer_id === seat?.peer_id;
    if (!same) {
      for (const peerId of [...peers.keys()]) removePeer(peerId);
      roster = createRoster(ack.peer_id);
    }
    seat = { peer_id: ack.peer_id, resume_token: ack.resume_token };
    role = ack.role;
    meetingName = ack.meeting.name;
    meeting = ack.meeting;
    if (request && ack.admission_token) request = { ...request, admission_token: ack.admission_token };
    rejoinAttempts = 0;
    setIce(ack.ice_servers, ack.ice_ttl_s);
    status = "joined";
    const sources = () => ({ camera: tracks.camera !== null, screen: tracks.screen !== null });
    uplink ??= createUplink(peers, sources, changed);
    ears ??= listenTo(peers, changed);
    void renumber();
    // Who came while we were away has offered to us; to whom we come, we offer.
    follow(roster.replace(ack.rev, ack.peers), !same);
    takePending();
    chat.joined({ peerId: ack.peer_id, name: request?.name ?? "", rev: ack.rev, same });
    outbox.flush();
    for (const peer of peers.values()) peer.retry();
    if (same || media.screen || media.hand !== null) tellMedia();
  }

  async function rejoin(): Promise<void> {
    clearTimeout(rejoinTimer);
    if (!request || status !== "reconnecting" || !signaling.ready()) return;
    try {
      const { audio, video } = media;
      const resume = seat ? { resume_token: seat.resume_token } : {};
      const ack = await signaling.join({ ...request, ...resume, media: { audio, video } });
      if (status === "reconnecting") take(ack);
    } catch (error) {
      rejoinFailed(error);
    }
  }

  function rejoinFailed(error: unknown): void {
    const code = codeOf(error);
    if (status !== "reconnecting" || code === "disconnected") return; // the next `ready` tries again
    if (code === "resume_expired" || code === "token_expired" || code === "unauthorized") {
      // The meeting has gone on without us: join it again, as someone new.
      if (seat) {
        seat = undefined;
        void rejoin();
      } else {
        end(code);
      }
    } else if (passing.has(code)) {
      const wait = error instanceof SignalError ? error.retryAfterMs : undefined;
      const backoff = Math.min(5_000, 500 * 2 ** Math.min(rejoinAttempts++, 4));
      clearTimeout(rejoinTimer);
      rejoinTimer = setTimeout(() => void rejoin(), wait ?? backoff);
    } else {
      end(code);
    }
  }

  function end(code: string): void {
    if (status === "ended") return;
    close();
    events.emit("ended", { code });
    changed();
  }

  function close(keepSeat = false): void {
    status = "ended";
    clearTimeout(iceTimer);
    clearTimeout(rejoinTimer);
    uplink?.stop();
    ears?.stop();
    for (const peerId of [...peers.keys()]) removePeer(peerId);
    chat.close();
    if (keepSeat) signaling.drop();
    else signaling.close();
  }

  function connected(): Promise<void> {
    if (signaling.ready()) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        stop();
        reject(localError("unreachable", "the server could not be reached"));
      }, connectTimeoutMs);
      const stop = signaling.on("ready", () => {
        clearTimeout(timer);
        stop();
        resolve();
      });
    });
  }

  // ICE servers and what we send.

  function setIce(servers: IceServer[], ttlSeconds: number): void {
    iceServers = servers;
    for (const peer of peers.values()) peer.refreshIce();
    clearTimeout(iceTimer);
    // A little before the credentials run out.
    if (ttlSeconds > 0) iceTimer = setTimeout(() => void renewIce(), ttlSeconds * 800);
  }

  async function renewIce(): Promise<void> {
    if (!seat || status === "ended") return;
    try {
      const { ice_servers, ice_ttl_s } = await api.ice(seat.resume_token);
      setIce(ice_servers, ice_ttl_s);
    } catch (error) {
      trouble(error);
      iceTimer = setTimeout(() => void renewIce(), 30_000);
    }
  }

  function tellMedia(): void {
    if (online()) signaling.mediaState(media).catch(trouble);
  }

  // What the connection says.

  signaling.on("ready", () => void rejoin());
  signaling.on("lost", ({ final }) => {
    if (status !== "joined" && status !== "reconnecting") return;
    if (final) {
      end("disconnected");
      return;
    }
    status = "reconnecting";
    changed();
  });
  signaling.on("closed", ({ code, rejoin }) => {
    if (!rejoin) end(code);
  });
  signaling.on("delta", takeDelta);
  signaling.on("roster", (full) => {
    if (status === "joined" && ours(full.meeting_id)) takeWhole(full);
  });
  signaling.on("state", (next) => {
    if (!ours(next.meeting_id)) return;
    meeting = next;
    changed();
  });
  signaling.on("lobby", (lobby) => {
    if (!ours(lobby.meeting_id)) return;
    waiting = lobby.waiting;
    changed();
  });
  signaling.on("moderated", (moderated) => {
    if (ours(moderated.meeting_id)) events.emit("moderated", moderated);
  });
  signaling.on("signal", (signal) => {
    const peer = peers.get(signal.from);
    if (peer) return peer.receive(signal);
    // Its sender is not in our roster yet: the ack or the sync that names it is on its way.
    strangers = [...strangers, signal].slice(-maxPending);
    void sync();
  });
  signaling.on("chat", (message) => {
    if (ours(message.meeting_id)) chat.take(message);
  });
  signaling.on("chatUpdate", (update) => {
    if (ours(update.meeting_id)) chat.update(update);
  });
  signaling.on("typing", (typing) => {
    if (ours(typing.meeting_id)) events.emit("typing", typing);
  });
  signaling.on("malformed", trouble);

  return {
    on: events.on,
    peers: () => peers,
    chat,
    files,

    view: () => ({
      status,
      selfId: seat?.peer_id ?? "",
      name: ownName,
      hand,
      role,
      meetingName,
      policy: meeting?.policy ?? null,
      meeting,
      waiting: role === "guest" ? [] : waiting,
      admissionToken: request?.admission_token ?? "",
      peers: [...peers].flatMap(([peerId, peer]) => {
        const info = roster.get(peerId);
        if (!info) return [];
        const state = peer.state();
        const verdict = peer.fingerprint === "" ? "unverified" : "verified";
        return [
          {
            info,
            state,
            tracks: peer.remote(),
            speaking: ears?.speaking(peerId) ?? false,
            quality: uplink?.quality(peerId) ?? unknownQuality,
            trust: state === "refused" || info.fingerprint !== peer.fingerprint ? "refused" : verdict,
          },
        ];
      }),
      safetyNumber: number,
    }),

    async join({ meetingId, name, hostKey, password, token, memo, admissionToken, resumeToken }) {
      if (status !== "idle") throw new Error("a mesh joins once");
      status = "joining";
      try {
        identity = await rtc.identity().catch((error) => {
          trouble(error);
          return null;
        });
        await connected();
        ownName = name;
        request = {
          meeting_id: meetingId,
          user_id: name,
          name,
          ...(hostKey ? { host_key: hostKey } : {}),
          ...(password ? { password } : {}),
          ...(token ? { token } : {}),
          ...(memo ? { memo } : {}),
          ...(admissionToken ? { admission_token: admissionToken } : {}),
          ...(identity ? { fingerprint: identity.fingerprint } : {}),
          media: { audio: media.audio, video: media.video },
        };
        const resume = resumeToken ? { resume_token: resumeToken, fresh: true } : {};
        const ack = await enter(signaling, { ...request, ...resume }, () => {
          status = "waiting";
          changed();
        });
        take(ack);
      } catch (error) {
        status = "ended";
        signaling.close();
        throw error;
      }
    },

    setTracks(next) {
      tracks = next;
      for (const peer of peers.values()) peer.setTracks(next);
      uplink?.divide();
    },

    setMedia(next) {
      media = next;
      tellMedia();
    },

    async rename(name) {
      await signaling.rename(name);
      if (request) request = { ...request, name };
    },

    control: (change) => signaling.control(change),
    moderate: (request) => signaling.moderate(request),

    show: (peerId, wish) => peers.get(peerId)?.show(wish),

    leave() {
      if (status === "ended") return null;
      const left = seat ?? null;
      if (online()) signaling.leave().catch(() => {}); // the beacon says it again
      close();
      changed();
      return left;
    },

    quit() {
      if (status === "ended") return null;
      const left = seat ?? null;
      close(true);
      changed();
      return left;
    },
  };
}
