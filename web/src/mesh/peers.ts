/**
 * Everyone in the meeting: a connection to each, and what all connections share, which is our certificate,
 * what we send, the uplink that is divided among them, and ears for who speaks.
 */
import type { FileRoom } from "./files.ts";
import { createHearing, type Hearing } from "./hearing.ts";
import { createOutbox } from "./outbox.ts";
import { createPeer, noTracks, type Peer, type Tracks } from "./peer.ts";
import type { IceServer, MeshAdvice, PairReport, PeerInfo, SignalIn, SignalOut } from "./protocol.ts";
import { unknownQuality } from "./quality.ts";
import type { Identity, RtcEnvironment } from "./rtc.ts";
import { listenTo } from "./speakers.ts";
import { safetyNumber } from "./trust.ts";
import { createUplink } from "./uplink.ts";
import type { PeerView } from "./view.ts";

export interface Peers {
  /** Those with whom we have a connection, or are to have one. */
  readonly all: ReadonlyMap<string, Peer>;
  /** Everyone, in the order of coming. */
  ids(): string[];
  /** Makes our certificate. Its fingerprint, or "" if there can be none. */
  identify(): Promise<string>;
  /** We are in the meeting, under this peer_id. */
  begin(selfId: string): void;
  /** `offers`: it is for us to begin, as we came later. */
  add(info: PeerInfo, offers: boolean): void;
  remove(peerId: string): void;
  /** Some were added or removed. */
  regroup(): void;
  /** False if its sender is unknown yet. It is kept until the sender is added. */
  receive(signal: SignalIn): boolean;
  setTracks(tracks: Tracks): void;
  refreshIce(): void;
  /** The connection to the server is back. */
  resume(): void;
  viewOf(info: PeerInfo): PeerView | null;
  /** How it stands with the connection to somebody. */
  reportOf(info: PeerInfo): PairReport | null;
  /** What the server, who knows both sides, wants done about a connection. */
  mend(advice: MeshAdvice): void;
  safetyNumber(): string | null;
  clear(): void;
  stop(): void;
}

export interface PeersOptions {
  rtc: RtcEnvironment;
  relayOnly: boolean;
  iceServers(): IceServer[];
  online(): boolean;
  signal(message: SignalOut): Promise<void>;
  files: Pick<FileRoom, "accept">;
  onChange(): void;
  /** A signal could not be sent, and never will be. */
  onUnsent(error: unknown): void;
  onError(error: unknown): void;
}

const maxStrangers = 64;

/** Without a connection: the original client, or one for which this browser had no room. */
const apart = (info: PeerInfo): PeerView => ({
  info,
  state: info.protocol === 1 ? "apart" : "failed",
  tracks: noTracks,
  speaking: false,
  quality: unknownQuality,
  trust: "unverified",
});

export function createPeers(options: PeersOptions): Peers {
  const { rtc, online } = options;
  const ids = new Set<string>();
  const peers = new Map<string, Peer>();
  const hearings = new Map<string, Hearing>();
  let selfId = "";
  let tracks: Tracks = noTracks;
  let identity: Identity | null = null;
  let number: string | null = null;
  let negs = 0;
  /** Signals of those who are not in our roster yet. */
  let strangers: SignalIn[] = [];
  /** The last signal of each sender. */
  const handled = new Map<string, number>();

  // Both run while we are in the meeting.
  let uplink: ReturnType<typeof createUplink> | undefined;
  let ears: ReturnType<typeof listenTo> | undefined;

  const outbox = createOutbox({ ready: online, send: options.signal, onError: options.onUnsent });

  function add(info: PeerInfo, offers: boolean): void {
    const peerId = info.peer_id;
    ids.add(peerId);
    if (info.protocol === 1) return;
    try {
      peers.set(peerId, connectTo(info, offers));
    } catch (error) {
      options.onError(error); // no connection to be had for this one; the others need not suffer
      return;
    }
    const waiting = strangers.filter((signal) => signal.from === peerId);
    strangers = strangers.filter((signal) => signal.from !== peerId);
    for (const signal of waiting) peers.get(peerId)?.receive(signal);
  }

  function connectTo(info: PeerInfo, offers: boolean): Peer {
    const peerId = info.peer_id;
    return createPeer({
      selfId,
      peerId,
      offers,
      rtc,
      iceServers: options.iceServers,
      relayOnly: options.relayOnly,
      ...(identity ? { certificates: [identity.certificate] } : {}),
      fingerprint: info.fingerprint,
      nextNeg: () => `${selfId}-${++negs}`,
      send: (body) => outbox.push(peerId, body),
      online,
      tracks,
      onChannel(channel) {
        if (!options.files.accept(peerId, channel)) channel.close();
      },
      onChange() {
        uplink?.divide();
        options.onChange();
      },
      onError: options.onError,
    });
  }

  function remove(peerId: string): void {
    ids.delete(peerId);
    handled.delete(peerId);
    peers.get(peerId)?.close();
    peers.delete(peerId);
    hearings.delete(peerId);
    outbox.drop(peerId);
  }

  function clear(): void {
    for (const peerId of [...ids]) remove(peerId);
    handled.clear();
  }

  async function renumber(): Promise<void> {
    const all = () => [identity?.fingerprint ?? "", ...[...peers.values()].map((peer) => peer.fingerprint)];
    const asked = all();
    const next = await safetyNumber(asked);
    // Meanwhile someone may have come, whose own renumbering is under way.
    if (all().join() !== asked.join()) return;
    number = next;
    options.onChange();
  }

  return {
    all: peers,
    ids: () => [...ids],

    async identify() {
      identity = await rtc.identity().catch((error) => {
        options.onError(error);
        return null;
      });
      return identity?.fingerprint ?? "";
    },

    begin(id) {
      selfId = id;
      const sources = () => ({ camera: tracks.camera !== null, screen: tracks.screen !== null });
      uplink ??= createUplink(peers, sources, options.onChange);
      ears ??= listenTo(peers, options.onChange);
      void renumber();
    },

    add,
    remove,

    regroup() {
      uplink?.divide();
      void renumber();
    },

    receive(signal) {
      const peer = peers.get(signal.from);
      // The server sends again what it does not know to have arrived.
      if (signal.seq > 0) {
        if (signal.seq <= (handled.get(signal.from) ?? 0)) return true;
        handled.set(signal.from, signal.seq);
      }
      if (peer) peer.receive(signal);
      else if (!ids.has(signal.from)) strangers = [...strangers, signal].slice(-maxStrangers);
      return ids.has(signal.from);
    },

    setTracks(next) {
      tracks = next;
      for (const peer of peers.values()) peer.setTracks(next);
      uplink?.divide();
    },

    refreshIce() {
      for (const peer of peers.values()) peer.refreshIce();
    },

    resume() {
      outbox.flush();
      for (const peer of peers.values()) peer.retry();
    },

    viewOf(info) {
      const peer = peers.get(info.peer_id);
      if (!peer) return ids.has(info.peer_id) ? apart(info) : null;
      const state = peer.state();
      const verdict = peer.fingerprint === "" ? "unverified" : "verified";
      return {
        info,
        state,
        tracks: peer.remote(),
        speaking: ears?.speaking(info.peer_id) ?? false,
        quality: uplink?.quality(info.peer_id) ?? unknownQuality,
        trust: state === "refused" || info.fingerprint !== peer.fingerprint ? "refused" : verdict,
      };
    },

    reportOf({ peer_id, media }) {
      const peer = peers.get(peer_id);
      if (!peer) return null;
      const state = peer.pairState();
      const { soundIn, route, level } = uplink?.quality(peer_id) ?? unknownQuality;
      const hearing = hearings.get(peer_id) ?? createHearing();
      hearings.set(peer_id, hearing);
      const connected = state === "connected";
      const hears = hearing.judge(connected && media.audio, soundIn, performance.now());
      return {
        peer_id,
        state,
        hears: connected && hears,
        relayed: connected && route === "relay",
        poor: connected && level === "poor",
      };
    },

    mend: ({ peer_id, action, offer }) => peers.get(peer_id)?.mend(action, offer),

    safetyNumber: () => number,
    clear,

    stop() {
      uplink?.stop();
      ears?.stop();
      clear();
    },
  };
}
