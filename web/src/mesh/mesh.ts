/**
 * One participation in one meeting: what others may use of it, and how its parts hang together. Media never
 * stops when the signaling connection is lost: peers live as long as we are who we are.
 */
import type { Api } from "./api.ts";
import type { Wish } from "./budget.ts";
import { type Chat, createChat } from "./chat.ts";
import { codeOf } from "./errors.ts";
import { createEvents, type Events } from "./events.ts";
import { createFiles, type Files } from "./files.ts";
import { createIceServers } from "./ice-servers.ts";
import { createMembership, type JoinOptions, type Place, type Seat } from "./membership.ts";
import type { Peer, Tracks } from "./peer.ts";
import { createPeers } from "./peers.ts";
import type {
  Control,
  JoinAck,
  Matrix,
  MediaState,
  MeetingState,
  Moderate,
  PeerInfo,
  Waiter,
} from "./protocol.ts";
import { createReporter } from "./reporter.ts";
import type { RosterDiff } from "./roster.ts";
import { createRosterSync } from "./roster-sync.ts";
import { browserRtc, type RtcEnvironment } from "./rtc.ts";
import { newSecret } from "./secret.ts";
import type { Signaling } from "./signaling.ts";
import type { MeshEvents, MeshStatus, MeshView } from "./view.ts";

export type { JoinOptions, Place, Seat } from "./membership.ts";
export type { Away, MeshEvents, MeshStatus, MeshView, PeerView } from "./view.ts";

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
  /** Out at once, and for good. Returns the seat, or the place in the lobby, that was left, for a beacon. */
  leave(): Seat | Place | null;
  /** The network may be another one, or this machine has slept: looks at once whether the server is still there. */
  check(): void;
  /**
   * Ends all but the seat, and returns it: for a page that goes, and whose next may take it within that time.
   * The server is told, if it can be; a beacon says it again.
   */
  quit(): { seat: Seat; withinMs: number } | null;
}

export interface MeshOptions {
  signaling: Signaling;
  api: Pick<Api, "ice">;
  rtc?: RtcEnvironment;
  /** Media goes through a TURN server, so that the others do not learn our addresses. Without one there is none. */
  relayOnly?: boolean;
}

/** How often a request is sent whose answer is lost, and how long each time is waited for the seat. */
const maxAsks = 3;
const backInMs = 20_000;

export function createMesh({ signaling, api, rtc = browserRtc, relayOnly = false }: MeshOptions): Mesh {
  const events = createEvents<MeshEvents>();
  let status: MeshStatus = "idle";
  let media: MediaState = { audio: false, video: false, screen: false, hand: null };

  // What the server says of us and of the meeting.
  let role: PeerInfo["role"] = "guest";
  let ownName = "";
  let hand: number | null = null;
  let meetingName = "";
  let meeting: MeetingState | null = null;
  let waiting: Waiter[] = [];
  let matrix: Matrix | null = null;
  let refusal = "";
  /** Since when we are out, while we are; 0 while we are in. */
  let outSince = 0;

  const trouble = (error: unknown) => events.emit("trouble", error);
  const changed = () => {
    reporter.look();
    events.emit("change", undefined);
  };
  const online = () => status === "joined" && signaling.ready();

  const membership = createMembership({
    signaling,
    away: () => status === "reconnecting",
    media: () => ({ audio: media.audio, video: media.video }),
    onWaiting() {
      if (status === "ended") return;
      status = "waiting";
      changed();
    },
    onBack: take,
    onRefused: refused,
    onEnd: end,
  });

  const iceServers = createIceServers({
    api,
    resumeToken: () => membership.seat()?.resume_token,
    onChange: () => peers.refreshIce(),
    onError: trouble,
  });

  const files = createFiles({
    open: (peerId, label) => peers.all.get(peerId)?.open(label) ?? null,
    present: (peerId) => peers.all.has(peerId),
    onSending: (told) => events.emit("sending", told),
  });

  const peers = createPeers({
    rtc,
    relayOnly,
    iceServers: iceServers.list,
    online,
    signal: (message) => signaling.signal(message),
    files,
    onChange: changed,
    onUnsent(error) {
      trouble(error);
      if (codeOf(error) === "not_joined" && status === "joined") {
        // The server has lost us, though the connection holds: take the seat again.
        status = "reconnecting";
        changed();
        void membership.comeBack();
      }
    },
    onError: trouble,
  });

  const roster = createRosterSync({
    member: () => status === "joined" || status === "reconnecting",
    online,
    ask: (haveRev) => signaling.sync(haveRev),
    onSelf(self) {
      if (self.role) role = self.role;
      if (self.name !== undefined) ownName = self.name;
      if (self.media) hand = self.media.hand;
    },
    onMeeting(state) {
      meeting = state;
    },
    onDiff: follow,
    onError: trouble,
  });

  const reporter = createReporter({
    ready: () => online() && signaling.knows("mesh_report"),
    pairs: () => present().flatMap((info) => peers.reportOf(info) ?? []),
    send: (pairs) => signaling.meshReport(pairs),
    onError: trouble,
  });

  const present = () => peers.ids().flatMap((peerId) => roster.get(peerId) ?? []);

  const chat = createChat({
    signaling,
    online,
    onMessage: (message) => events.emit("message", message),
    onUpdate: (update) => events.emit("revoked", update),
    onError: trouble,
  });

  /** `offers`: we are the newcomer to those who are new in the list. */
  function follow(diff: RosterDiff, offers: boolean): void {
    for (const { peer, reason } of diff.left) {
      peers.remove(peer.peer_id);
      events.emit("left", { peer, reason });
    }
    for (const peer of diff.joined) {
      peers.add(peer, offers);
      if (!offers) events.emit("joined", peer);
    }
    if (diff.joined.length + diff.left.length > 0) peers.regroup();
    changed();
  }

  /** We are in, for the first time or again. */
  function take(ack: JoinAck): void {
    const same = membership.take(ack);
    if (!same) {
      peers.clear();
      roster.begin(ack.peer_id);
    }
    role = ack.role;
    meetingName = ack.meeting.name;
    meeting = ack.meeting;
    iceServers.set(ack.ice_servers, ack.ice_ttl_s);
    status = "joined";
    matrix = null;
    reporter.begin();
    peers.begin(ack.peer_id);
    // Who came while we were away has offered to us; to whom we come, we offer.
    roster.joined(ack.rev, ack.peers, !same);
    roster.takePending();
    const readsOn = chat.joined({
      peerId: ack.peer_id,
      past: ack.past_peer_ids,
      name: membership.request()?.name ?? "",
      rev: ack.rev,
      resumed: ack.resumed,
      same,
    });
    if (outSince > 0 && !same) events.emit("away", { from: outSince, until: Date.now(), readsOn });
    outSince = 0;
    refusal = "";
    peers.resume();
    if (same || media.screen || media.hand !== null) tellMedia();
  }

  function refused(code: string): void {
    if (refusal === code || status === "ended") return;
    refusal = code;
    changed();
  }

  function end(code: string): void {
    if (status === "ended") return;
    close();
    events.emit("ended", { code });
    changed();
  }

  function close(keepSeat = false): void {
    status = "ended";
    iceServers.stop();
    membership.stop();
    peers.stop();
    chat.close();
    files.close();
    if (keepSeat) signaling.drop();
    else signaling.close();
  }

  function tellMedia(): void {
    if (online()) signaling.mediaState(media).catch(trouble);
  }

  /** Sends a request that is not to be done twice, again if its answer was lost. */
  async function asked(send: (named: { request_id?: string }) => Promise<void>): Promise<void> {
    const known = signaling.knows("asked_again");
    const named = known ? { request_id: newSecret() } : {};
    for (let asks = 1; ; asks++) {
      try {
        return await send(named);
      } catch (error) {
        const code = codeOf(error);
        if (!known || asks >= maxAsks || (code !== "disconnected" && code !== "timeout")) throw error;
        if (!(await backIn())) throw error;
      }
    }
  }

  /** Whether we have our seat again, in a while. */
  function backIn(): Promise<boolean> {
    return new Promise((resolve) => {
      const settle = (back: boolean) => {
        clearTimeout(timer);
        stop();
        resolve(back);
      };
      const look = () => {
        if (online()) settle(true);
        else if (status === "ended") settle(false);
      };
      const timer = setTimeout(() => settle(false), backInMs);
      const stop = events.on("change", look);
      look();
    });
  }

  // What the connection says.

  const ours = (meetingId: string | undefined) =>
    meetingId === undefined || meetingId === membership.request()?.meeting_id;

  signaling.on("ready", () => {
    if (status !== "reconnecting") refused("");
    void membership.comeBack();
  });
  signaling.on("refused", ({ code }) => refused(code));
  signaling.on("lost", ({ final, since }) => {
    if (status === "waiting" && !final) refused("disconnected"); // the place is kept, and asked for again
    if (status !== "joined" && status !== "reconnecting") return;
    if (final) {
      end("disconnected");
      return;
    }
    outSince ||= since;
    status = "reconnecting";
    changed();
  });
  signaling.on("closed", ({ code, rejoin }) => {
    if (!rejoin) end(code);
  });
  signaling.on("delta", (delta) => {
    if (ours(delta.meeting_id)) roster.takeDelta(delta);
  });
  signaling.on("roster", (full) => {
    if (ours(full.meeting_id)) roster.takeWhole(full);
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
  signaling.on("advice", (advice) => {
    if (ours(advice.meeting_id)) peers.mend(advice);
  });
  signaling.on("matrix", (next) => {
    if (!ours(next.meeting_id)) return;
    matrix = next;
    changed();
  });
  signaling.on("moderated", (moderated) => {
    if (ours(moderated.meeting_id)) events.emit("moderated", moderated);
  });
  signaling.on("signal", (signal) => {
    // If its sender is not in our roster yet, the ack or the sync that names it is on its way.
    if (!peers.receive(signal)) void roster.sync();
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
    peers: () => peers.all,
    chat,
    files,

    view: () => ({
      status,
      refusal: status === "joined" || status === "ended" ? "" : refusal,
      selfId: membership.seat()?.peer_id ?? "",
      name: ownName,
      hand,
      role,
      meetingName,
      policy: meeting?.policy ?? null,
      meeting,
      waiting: role === "guest" ? [] : waiting,
      matrix: role === "guest" ? null : matrix,
      admissionToken: membership.request()?.admission_token ?? "",
      pastToken: membership.request()?.past_token ?? "",
      peers: present().flatMap((info) => peers.viewOf(info) ?? []),
      safetyNumber: peers.safetyNumber(),
    }),

    async join(options) {
      if (status !== "idle") throw new Error("a mesh joins once");
      status = "joining";
      try {
        const fingerprint = await peers.identify();
        ownName = options.name;
        take(await membership.join(options, fingerprint));
      } catch (error) {
        status = "ended";
        signaling.close();
        throw error;
      }
    },

    check: () => signaling.check(),

    setTracks: peers.setTracks,

    setMedia(next) {
      media = next;
      tellMedia();
    },

    async rename(name) {
      await signaling.rename(name);
      membership.rename(name);
    },

    control: (change) => asked((named) => signaling.control({ ...change, ...named })),
    moderate: (request) => asked((named) => signaling.moderate({ ...request, ...named })),

    show: (peerId, wish) => peers.all.get(peerId)?.show(wish),

    leave() {
      if (status === "ended") return null;
      const left = membership.seat() ?? membership.place() ?? null;
      if (online()) signaling.leave().catch(() => {}); // the beacon says it again
      close();
      changed();
      return left;
    },

    quit() {
      if (status === "ended") return null;
      const seat = membership.seat();
      const left = seat ? { seat, withinMs: membership.graceMs() } : null;
      if (online()) signaling.leave(true).catch(() => {});
      close(true);
      changed();
      return left;
    },
  };
}
