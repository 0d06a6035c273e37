/**
 * The connection to one other participant: perfect negotiation over a signaling channel that may lose,
 * delay and repeat, and the healing of what breaks.
 *
 * - Whoever is `polite` (sorts first) gives way when two offers cross.
 * - All steps of a negotiation run one after the other in one queue, so no step sees another half done.
 * - A pair is settled while media is connected and no offer is open. Unsettled for 30 s, it is rebuilt
 *   from nothing, up to three times.
 */
import { everything, type Shape, type Wish } from "./budget.ts";
import { createCandidateGate, maxBatch } from "./candidates.ts";
import { encode } from "./encode.ts";
import { channel, createLink, type Link } from "./link.ts";
import type { Candidate, PairState, Remedy, SignalBody } from "./protocol.ts";
import type { Rtc, RtcEnvironment } from "./rtc.ts";
import { levelOf } from "./speakers.ts";
import { speaksFor } from "./trust.ts";

/**
 * `refused`: it showed another certificate than the roster's; nothing is sent to it. `apart`: it has the original client, and
 * there is no connection to be had.
 */
export type PeerState = "connecting" | "connected" | "reconnecting" | "failed" | "refused" | "apart";
export type Slot = "audio" | "camera" | "screen";
export type Tracks = Record<Slot, MediaStreamTrack | null>;

export const noTracks: Tracks = { audio: null, camera: null, screen: null };
const slots: Slot[] = ["audio", "camera", "screen"];

export const timing = {
  /** Candidates that are found within this time share a message. */
  batchMs: 50,
  /** Who waits for an offer makes one himself after this. */
  offerWaitMs: 10_000,
  /** `disconnected` often heals by itself; after this it is helped. */
  disconnectedMs: 2_000,
  /** A pair unsettled for so long is given up and built anew. */
  giveUpMs: 30_000,
  retries: 3,
} as const;

/** The server takes at most 32 in a message. */

export interface PeerOptions {
  selfId: string;
  peerId: string;
  /** The newcomer offers; who was there before waits for the offer. */
  offers: boolean;
  rtc: RtcEnvironment;
  iceServers(): RTCIceServer[];
  /** Media goes through a TURN server or not at all: the other side learns no address of ours. */
  relayOnly?: boolean;
  /** Ours, the same for all connections. */
  certificates?: RTCCertificate[];
  /** Of the other side's certificate, as the roster has it; "" if it shows none. */
  fingerprint?: string;
  /** A new name for an offer, never used before between these two. */
  nextNeg(): string;
  send(message: SignalBody): void;
  /** Whether `send` gets through at present. While it does not, time does not count against the pair. */
  online(): boolean;
  tracks: Tracks;
  /** State or remote tracks changed. */
  onChange(): void;
  /** The other side has opened a channel. */
  onChannel?(channel: RTCDataChannel): void;
  onError(error: unknown): void;
}

export interface Peer {
  readonly id: string;
  /** The certificate that it is held to; "" if it showed none. */
  readonly fingerprint: string;
  /** How loud it is at this moment, 0–1. */
  loudness(): number;
  state(): PeerState;
  /** As it is reported: the connection's own state, and ours where that says more. */
  pairState(): PairState;
  /** What the other side sends. A slot's track is there once negotiated, whether or not it carries anything. */
  remote(): Tracks;
  /** The present connection, for statistics and debugging. A rebuilt pair has another one. */
  connection(): Rtc;
  /** A new data channel; null while there is no connection. It ends with the present one. */
  open(label: string): RTCDataChannel | null;
  setTracks(tracks: Tracks): void;
  /** How our pictures are sent to it, until further notice. */
  shape(shape: Shape): void;
  /** What it shows of us. */
  wish(): Wish;
  /** What we show of it. */
  show(wish: Wish): void;
  receive(message: SignalBody): void;
  /** New servers for this and later connections. */
  refreshIce(): void;
  /** Tries again after `failed`. */
  retry(): void;
  /**
   * The server, who knows both sides, finds the pair broken. `relay`: from now on through a TURN server or,
   * where there is none, anew. `offer`: it is for us to begin.
   */
  mend(remedy: Remedy, offer: boolean): void;
  close(): void;
}

export function createPeer(options: PeerOptions): Peer {
  const polite = options.selfId < options.peerId;
  const pinned = options.fingerprint ?? "";
  const gate = createCandidateGate();
  const streams = { main: options.rtc.stream(), screen: options.rtc.stream() };
  let tracks = options.tracks;
  let state: PeerState = "connecting";
  let retriesLeft: number = timing.retries;
  let closed = false;
  let shape: Shape | undefined;
  let shown: Wish = everything;
  let relayed = options.relayOnly ?? false;

  // Of the present connection; connect() sets them anew.
  let pc: Rtc;
  let negotiated = false; // at least one offer was answered
  let openOffer: string | undefined; // neg of our offer that waits for its answer
  let localNeg = ""; // the negotiation that our candidates belong to
  let found: Candidate[] = [];
  let link: Link | undefined;

  let batchTimer: ReturnType<typeof setTimeout> | undefined;
  let offerTimer: ReturnType<typeof setTimeout> | undefined;
  let restartTimer: ReturnType<typeof setTimeout> | undefined;
  let giveUpTimer: ReturnType<typeof setTimeout> | undefined;
  let restarting = false;

  // The queue of steps. A step that finds its connection replaced while it waited just stops.
  let queue: Promise<void> = Promise.resolve();
  function step(work: (pc: Rtc, stale: () => boolean) => Promise<void> | void): void {
    queue = queue.then(async () => {
      if (closed) return;
      const mine = pc;
      const stale = () => closed || mine !== pc;
      try {
        await work(mine, stale);
      } catch (error) {
        if (!stale()) options.onError(error);
      }
      if (!closed) watch();
    });
  }

  const configuration = (): RTCConfiguration => ({
    iceServers: options.iceServers(),
    iceTransportPolicy: relayed ? "relay" : "all",
    ...(options.certificates ? { certificates: options.certificates } : {}),
  });

  function connect(offering: boolean): void {
    pc = options.rtc.connection(configuration());
    const mine = pc;
    negotiated = false;
    openOffer = undefined;
    restarting = false;
    found = [];
    link = undefined;
    clearTimeout(batchTimer);
    batchTimer = undefined;
    clearTimeout(restartTimer);
    pc.onnegotiationneeded = () => step(offer);
    pc.onicecandidate = ({ candidate }) => {
      if (mine === pc) collect(candidate);
    };
    pc.ondatachannel = ({ channel }) => {
      if (mine !== pc || !options.onChannel) channel.close();
      else options.onChannel(channel);
    };
    pc.onconnectionstatechange = () => {
      if (mine === pc) connectionChanged();
    };
    clearTimeout(offerTimer);
    if (offering) open();
    else offerTimer = setTimeout(open, timing.offerWaitMs);
    watch();
  }

  /** Puts media lines into a connection that has none; the browser then asks for an offer. */
  function open(): void {
    clearTimeout(offerTimer);
    if (pc.getTransceivers().length > 0) return;
    for (const slot of ["audio", "camera"] as const) addLine(slot);
    if (tracks.screen) addLine("screen");
    makeLink();
  }

  function makeLink(): void {
    link = createLink(pc.createDataChannel(channel.label, channel.init), options.onChange);
    link.tell(shown);
  }

  function addLine(slot: Slot): void {
    const kind = slot === "audio" ? "audio" : "video";
    const line = pc.addTransceiver(kind, { direction: "sendrecv", streams: [streamOf(slot)] });
    void put(line, tracks[slot]);
  }

  const streamOf = (slot: Slot) => (slot === "screen" ? streams.screen : streams.main);

  function disconnect(): void {
    pc.onnegotiationneeded = null;
    pc.onicecandidate = null;
    pc.onconnectionstatechange = null;
    pc.ondatachannel = null;
    pc.close();
  }

  function rebuild(offering: boolean): void {
    disconnect();
    if (state === "connected") state = "reconnecting";
    connect(offering);
    options.onChange();
  }

  // Media lines. The order is fixed: the first audio, the first video (camera), the second video (screen).

  function lineOf(slot: Slot): RTCRtpTransceiver | undefined {
    const kind = slot === "audio" ? "audio" : "video";
    const lines = pc
      .getTransceivers()
      .filter((line) => line.direction !== "stopped" && line.receiver.track.kind === kind);
    return lines[slot === "screen" ? 1 : 0];
  }

  async function put(line: RTCRtpTransceiver, track: MediaStreamTrack | null): Promise<void> {
    if (line.sender.track === track) return;
    await line.sender.replaceTrack(track).catch(options.onError);
  }

  async function putAll(): Promise<void> {
    for (const slot of slots) {
      const line = lineOf(slot);
      if (line) await put(line, tracks[slot]);
    }
  }

  /** A size depends on the track's, and a new connection knows nothing of it. */
  async function reshape(): Promise<void> {
    if (!shape) return;
    const senders = Object.fromEntries(slots.map((slot) => [slot, lineOf(slot)?.sender]));
    await encode(senders, shape);
  }

  // Negotiation.

  async function offer(pc: Rtc, stale: () => boolean): Promise<void> {
    if (pc.signalingState !== "stable") return; // asked again once it is
    const neg = options.nextNeg();
    belongTo(neg);
    const restart = restarting;
    restarting = false;
    await pc.setLocalDescription();
    if (stale() || pc.localDescription?.type !== "offer") return;
    openOffer = neg;
    options.send({ kind: "offer", neg, sdp: pc.localDescription.sdp, restart });
  }

  async function offered(neg: string, sdp: string): Promise<void> {
    if (gate.seen(neg)) return; // repeated by the network
    if (!trusted(sdp)) return refuse();
    revive();
    clearTimeout(offerTimer);
    if (pc.signalingState !== "stable") {
      if (!polite) {
        gate.refuse(neg);
        return;
      }
      // Giving way on a connection that never worked: begin again with theirs. Rolling back would
      // leave our media lines beside those of the offer.
      if (!negotiated) rebuild(false);
      clearTimeout(offerTimer);
    }
    const mine = pc;
    const stale = () => closed || mine !== pc;
    openOffer = undefined;
    await mine.setRemoteDescription({ type: "offer", sdp });
    if (stale()) return;
    dropOrphanedScreen();
    for (const slot of slots) {
      const line = lineOf(slot);
      if (!line) continue;
      // We may send on every line, from now on without another negotiation.
      if (line.direction !== "sendrecv") {
        line.direction = "sendrecv";
        line.sender.setStreams?.(streamOf(slot)); // older Firefox has none, and does without lip sync
      }
      await put(line, tracks[slot]);
    }
    if (stale()) return;
    if (!link && /^m=application /m.test(sdp)) makeLink();
    belongTo(neg);
    await mine.setLocalDescription();
    if (stale() || mine.localDescription?.type !== "answer") return;
    options.send({ kind: "answer", neg, sdp: mine.localDescription.sdp });
    await entered(neg);
    if (!stale() && tracks.screen && !lineOf("screen")) addLine("screen");
  }

  /** Two who begin to share at once each made a line for it. The loser sends on the winner's. */
  function dropOrphanedScreen(): void {
    const lines = pc.getTransceivers().filter((line) => line.receiver.track.kind === "video");
    if (lines.filter((line) => line.mid !== null).length < 2) return;
    for (const line of lines) if (line.mid === null && line.direction !== "stopped") line.stop();
  }

  async function answered(pc: Rtc, stale: () => boolean, neg: string, sdp: string): Promise<void> {
    if (neg !== openOffer || pc.signalingState !== "have-local-offer") return; // late, or repeated
    if (!trusted(sdp)) return refuse();
    openOffer = undefined;
    await pc.setRemoteDescription({ type: "answer", sdp });
    if (!stale()) await entered(neg);
  }

  async function entered(neg: string): Promise<void> {
    negotiated = true;
    options.onChange(); // remote tracks are known now
    await reshape();
    await add(gate.enter(neg));
  }

  const trusted = (sdp: string) => pinned === "" || speaksFor(sdp, pinned);

  /** Someone else's certificate: whatever was connected ends, and is not tried again from here. */
  function refuse(): void {
    disconnect();
    connect(false);
    clearTimeout(offerTimer);
    state = "refused";
    options.onError(new Error("the certificate is not the one of the roster"));
    options.onChange();
  }

  async function add(list: Candidate[]): Promise<void> {
    for (const candidate of list) {
      // One candidate that this browser does not understand must not cost the others.
      await pc.addIceCandidate(candidate).catch(options.onError);
    }
  }

  // Our candidates.

  function collect(candidate: RTCIceCandidate | null): void {
    if (candidate && candidate.candidate !== "") {
      const { sdpMid, sdpMLineIndex, usernameFragment } = candidate;
      found.push({ candidate: candidate.candidate, sdpMid, sdpMLineIndex, usernameFragment });
    }
    if (!candidate || found.length >= maxBatch) flush(!candidate);
    else batchTimer ??= setTimeout(flush, timing.batchMs);
  }

  function flush(end = false): void {
    clearTimeout(batchTimer);
    batchTimer = undefined;
    const list = found;
    found = [];
    if (list.length > 0) options.send({ kind: "candidates", neg: localNeg, list, end });
  }

  /** Candidates found so far go out under the old name, later ones under the new. */
  function belongTo(neg: string): void {
    flush();
    localNeg = neg;
  }

  // Healing.

  function connectionChanged(): void {
    clearTimeout(restartTimer);
    switch (pc.connectionState) {
      case "connected":
        state = "connected";
        break;
      case "disconnected":
        if (state === "connected") state = "reconnecting";
        restartTimer = setTimeout(restart, timing.disconnectedMs);
        break;
      case "failed":
        if (state === "connected") state = "reconnecting";
        restart();
        break;
    }
    watch();
    options.onChange();
  }

  function restart(): void {
    restarting = true;
    pc.restartIce();
  }

  /** Keeps the clock that gives a pair up running exactly while the pair is not settled. */
  function watch(): void {
    if (pc.connectionState === "connected" && pc.signalingState === "stable") {
      clearTimeout(giveUpTimer);
      giveUpTimer = undefined;
      retriesLeft = timing.retries;
    } else if (state !== "failed" && state !== "refused") {
      giveUpTimer ??= setTimeout(giveUp, timing.giveUpMs);
    }
  }

  function giveUp(): void {
    giveUpTimer = undefined;
    step(() => {
      if (state === "refused") return;
      if (pc.connectionState === "connected" && pc.signalingState === "stable") return;
      if (!options.online()) return; // nobody's fault yet; watch() starts the clock again
      if (retriesLeft === 0) {
        if (pc.connectionState === "connected") return;
        state = "failed";
        options.onChange();
        return;
      }
      retriesLeft--;
      startAfresh();
    });
  }

  function startAfresh(): void {
    options.send({ kind: "bye", neg: options.nextNeg() });
    rebuild(true);
  }

  function dismissed(): void {
    // Both gave up at once, and our new offer is under way: of the two the impolite one's stands.
    if (!polite && !negotiated && openOffer !== undefined) return;
    revive();
    rebuild(false);
  }

  /** A pair given up for good comes back if the other side tries again. */
  function revive(): void {
    if (state !== "failed" && state !== "refused") return;
    state = "reconnecting";
    retriesLeft = timing.retries;
  }

  connect(options.offers);

  return {
    id: options.peerId,
    fingerprint: pinned,
    loudness: () => levelOf(lineOf("audio")?.receiver),
    state: () => state,
    remote: () => ({
      audio: lineOf("audio")?.receiver.track ?? null,
      camera: lineOf("camera")?.receiver.track ?? null,
      screen: lineOf("screen")?.receiver.track ?? null,
    }),
    connection: () => pc,

    setTracks(next) {
      tracks = next;
      step(async (_, stale) => {
        await putAll();
        if (!stale()) await reshape();
        if (!stale() && negotiated && tracks.screen && !lineOf("screen")) addLine("screen");
      });
    },

    shape(next) {
      shape = next;
      step(reshape);
    },

    wish: () => link?.wish() ?? everything,

    show(wish) {
      shown = wish;
      link?.tell(wish);
    },

    receive(message) {
      switch (message.kind) {
        case "offer":
          step(() => offered(message.neg, message.sdp));
          break;
        case "answer":
          step((pc, stale) => answered(pc, stale, message.neg, message.sdp));
          break;
        case "candidates":
          step(() => add(gate.arrived(message.neg, message.list)));
          break;
        case "renegotiate":
          step((pc, stale) => (pc.getTransceivers().length === 0 ? open() : offer(pc, stale)));
          break;
        case "bye":
          step(dismissed);
          break;
      }
    },

    open: (label) => (pc.connectionState === "connected" ? pc.createDataChannel(label) : null),

    refreshIce() {
      pc.setConfiguration(configuration());
    },

    retry() {
      if (state !== "failed") return;
      revive();
      options.onChange();
      step(startAfresh);
    },

    pairState() {
      if (state === "refused" || state === "failed") return state;
      const now = pc.connectionState;
      return now === "connected" || now === "disconnected" || now === "failed" ? now : "connecting";
    },

    mend(remedy, offer) {
      if (state === "refused") return;
      if (state === "failed") {
        revive();
        options.onChange();
        if (offer) step(startAfresh);
        return;
      }
      if (remedy === "restart") {
        if (offer) restart();
        return;
      }
      if (!turns(options.iceServers())) {
        if (offer) step(startAfresh);
        return;
      }
      relayed = true;
      pc.setConfiguration(configuration());
      if (offer) restart();
    },

    close() {
      if (closed) return;
      closed = true;
      for (const timer of [batchTimer, offerTimer, restartTimer, giveUpTimer]) clearTimeout(timer);
      disconnect();
    },
  };
}

const turns = (servers: RTCIceServer[]) =>
  servers.some(({ urls }) => [urls].flat().some((url) => /^turns?:/i.test(url)));
