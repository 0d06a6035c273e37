/** Being in a meeting, as the page sees it: a mesh that sends what the user has switched on. */
import type { Api } from "../mesh/api.ts";
import { everything, type Wish } from "../mesh/budget.ts";
import { type Calls, createCalls } from "../mesh/calls.ts";
import { codeOf } from "../mesh/errors.ts";
import type { LocalMedia } from "../mesh/local-media.ts";
import { createMesh, type Mesh } from "../mesh/mesh.ts";
import type { PeerState } from "../mesh/peer.ts";
import type { MediaState } from "../mesh/protocol.ts";
import { createSignaling, openSocket } from "../mesh/signaling.ts";
import { attemptAnswered, attemptAt } from "./attempts.ts";
import { type Conversation, createConversation } from "./conversation.ts";
import { createDownloads, type Downloads } from "./downloads.ts";
import { identity } from "./identity.ts";
import { notices } from "./live.ts";
import { watchNetwork } from "./network.ts";
import { rememberParting } from "./parting.ts";
import { base, relayOnly } from "./place.ts";
import { persist } from "./returning.ts";
import { createSharing, type Sharing } from "./sharing.ts";
import { admissionOf, forgetPast, hostKeyOf, pastOf, rememberAdmission, rememberPast } from "./storage.ts";
import { newsOf, texts } from "./texts.ts";

declare global {
  interface Window {
    /** For the console, tests and embedders: `signald.mesh.peers()` holds each RTCPeerConnection. */
    signald?: { mesh: Mesh };
  }
}

export interface Session {
  mesh: Mesh;
  key: string;
  conversation: Conversation;
  sharing: Sharing;
  downloads: Downloads;
  /** Null if nobody vouches for us here. */
  calls: Calls | null;
  /** What of whom is on our screen: a camera's or screen's height in device pixels, 0 for hidden. */
  show(peerId: string, kind: "camera" | "screen", height: number): void;
  leave(): void;
  /** Ends all but the seat, and leaves that to the page that may be loaded in place of this one. */
  part(): void;
}

export interface Seat {
  key: string;
  name: string;
  password: string;
  /** For who lets people in. */
  memo: string;
  /** Of the page that was here before this one. */
  resumeToken?: string;
}

/** What is told of a join that takes its time. */
export interface Progress {
  /** We are in the lobby: `cancel` gives that up. */
  waiting(cancel: () => void): void;
  /** The code of what keeps us out for now, while it is tried on; "" when it is over. */
  refused?(code: string): void;
}

/** Codes of answers that were lost: we may be in. */
const lost = new Set(["disconnected", "timeout", "unreachable", "intercepted", "malformed"]);

/** How long what was said before is asked for again. */
const recallForMs = 60_000;

/** Joins, or throws a SignalError that says why not. */
export async function joinMeeting(
  api: Api,
  local: LocalMedia,
  seat: Seat,
  progress: Progress,
): Promise<Session> {
  const token = identity.tokenFor(seat.key);
  const signaling = createSignaling(openSocket(base, token === "" ? undefined : token));
  const mesh = createMesh({ signaling, api, relayOnly });
  const push = () => {
    mesh.setTracks(local.tracks());
    mesh.setMedia(local.state());
  };
  push();
  mesh.on("trouble", (error) => console.warn("signald:", error));
  const stopWatching = watchNetwork(mesh.check);
  const stopWaiting = mesh.on("change", () => {
    const { status, refusal } = mesh.view();
    progress.refused?.(refusal);
    if (status !== "waiting") return;
    progress.waiting(() => {
      if (mesh.view().status !== "waiting") return; // not a moment after being let in
      const place = mesh.leave();
      if (place) navigator.sendBeacon(api.leaveUrl, JSON.stringify(place));
    });
  });
  const hostKey = hostKeyOf(seat.key);
  const admissionToken = admissionOf(seat.key);
  const past = pastOf(seat.key);
  try {
    await mesh.join({
      meetingId: seat.key,
      name: seat.name,
      memo: seat.memo,
      ...(admissionToken ? { admissionToken } : {}),
      ...(past ? { pastToken: past.token } : {}),
      ...(hostKey ? { hostKey } : {}),
      ...(seat.password ? { password: seat.password } : {}),
      ...(seat.resumeToken ? { resumeToken: seat.resumeToken } : { attempt: attemptAt(seat.key, seat.name) }),
    });
    attemptAnswered();
  } catch (error) {
    if (!lost.has(codeOf(error))) attemptAnswered();
    stopWatching();
    throw error;
  }
  stopWaiting();
  const admitted = mesh.view().admissionToken;
  if (admitted !== "") rememberAdmission(seat.key, admitted);
  push(); // what was switched while joining
  const stopPushing = local.on("change", push);
  announce(mesh);
  const conversation = createConversation(mesh);
  const calls = token === "" ? null : createCalls(signaling);
  calls?.on("outcome", (ring) => notices.say(newsOf(ring)));
  const told = seat.resumeToken ? undefined : past?.told;
  if (seat.resumeToken || mesh.chat.earlier() > 0) {
    persist(() => conversation.recall(told), {
      until: Date.now() + recallForMs,
      wanted: () => mesh.view().status !== "ended",
      trouble() {},
    }).catch((error) => console.warn("signald:", error));
  }
  const sharing = createSharing(mesh, conversation);
  const downloads = createDownloads(mesh, conversation);
  const keepPast = rememberUs(mesh, conversation, seat.key, past?.told ?? 0);
  const stopObeying = obeyPolicy(mesh, local);
  window.signald = { mesh };
  const stop = () => {
    keepPast();
    stopWatching();
    stopPushing();
    stopObeying();
    sharing.close();
    downloads.close();
    calls?.close();
  };

  return {
    mesh,
    key: seat.key,
    conversation,
    calls,
    sharing,
    downloads,
    show: createShow(mesh),
    leave() {
      stop();
      const left = mesh.leave();
      // The socket has said so, too, if it could: this one gets through while the page closes.
      if (left) navigator.sendBeacon(api.leaveUrl, JSON.stringify(left));
      delete window.signald;
    },
    part() {
      stop();
      const { name } = mesh.view();
      const { audio, camera: video } = local.wish();
      const left = mesh.quit();
      if (!left) return;
      const until = Date.now() + left.withinMs;
      rememberParting({ key: seat.key, name, token: left.seat.resume_token, audio, video, until });
      navigator.sendBeacon(api.leaveUrl, JSON.stringify({ ...left.seat, may_return: true }));
    },
  };
}

/** Codes after which nothing of the meeting is ours to read any more. */
const final = new Set(["kicked", "banned", "meeting_ended"]);
const keepPastEveryMs = 60_000;
/** For so long the server lets us read on in a meeting that goes on. */
const readOnMs = 24 * 60 * 60_000;

/** Keeps what lets us read on another day, if the meeting keeps its chat; the answer does so at once. */
function rememberUs(mesh: Mesh, conversation: Conversation, key: string, read: number): () => void {
  let last = { token: "", told: read, at: 0 };
  const keep = (at: number) => {
    const { pastToken: token, meeting } = mesh.view();
    if (token === "" || !meeting) return;
    const told = conversation.unread() > 0 ? last.told : Math.max(last.told, conversation.told());
    if (token === last.token && told === last.told && at < last.at + keepPastEveryMs) return;
    last = { token, told, at };
    rememberPast(key, { token, told, until: at + Math.max(meeting.retention_s * 1_000, readOnMs) });
  };
  const now = () => keep(Date.now());
  now();
  mesh.on("change", now);
  conversation.on("change", now);
  mesh.on("ended", ({ code }) => {
    if (final.has(code)) forgetPast(key);
  });
  return () => {
    if (mesh.view().status === "ended") return;
    last = { ...last, at: 0 };
    now();
  };
}

/** Pictures are asked for in few sizes, so that a window being resized is not a flood. */
const heights = [0, 120, 180, 240, 360, 540, 720];

function createShow(mesh: Mesh): Session["show"] {
  const shown = new Map<string, Wish>();
  return (peerId, kind, height) => {
    const before = shown.get(peerId) ?? everything;
    const size = heights.find((step) => step >= height) ?? everything.camera;
    const wish = kind === "camera" ? { ...before, camera: size } : { ...before, screen: height > 0 };
    if (wish.camera === before.camera && wish.screen === before.screen) return;
    shown.set(peerId, wish);
    mesh.show(peerId, wish);
  };
}

/** Says who comes and goes, raises a hand or shares, and whose connection is in trouble. */
function announce(mesh: Mesh): void {
  const states = new Map<string, PeerState>();
  const media = new Map<string, MediaState>();
  const known = new Set<string>();
  let wasReconnecting = false;
  mesh.on("joined", (peer) => notices.say(texts.joined(peer.name)));
  mesh.on("left", ({ peer }) => notices.say(texts.left(peer.name)));
  mesh.on("change", () => {
    const view = mesh.view();
    for (const { info, state } of view.peers) {
      const earlier = media.get(info.peer_id) ?? info.media;
      media.set(info.peer_id, info.media);
      if (info.media.hand !== null && earlier.hand === null) notices.say(texts.raised(info.name));
      if (info.media.screen && !earlier.screen) notices.say(texts.shares(info.name));
      const before = states.get(info.peer_id);
      states.set(info.peer_id, state);
      // A first connection is no news; that it broke, came back, or never came is.
      const news =
        before !== undefined &&
        before !== state &&
        (before !== "connecting" || state === "failed" || state === "refused");
      if (news) notices.say(texts.peerState(info.name, texts.states[state]));
    }
    for (const { ticket, name } of view.waiting) {
      if (!known.has(ticket)) notices.say(texts.waits(name));
      known.add(ticket);
    }
    if (wasReconnecting && view.status === "joined") notices.say(texts.back_online);
    wasReconnecting = view.status === "reconnecting";
  });
}

/** What the host forbids is switched off here; nobody else could. */
function obeyPolicy(mesh: Mesh, local: LocalMedia): () => void {
  const obey = () => {
    const { role, policy } = mesh.view();
    if (role !== "guest" || !policy) return;
    const { audio, camera } = local.wish();
    if (!policy.speak && audio) void local.setAudio(false);
    if (!policy.camera && camera) void local.setCamera(false);
  };
  mesh.on("change", obey);
  mesh.on("moderated", ({ action, peer_id }) => {
    if (peer_id !== mesh.view().selfId) return;
    const news = texts.doneToYou[action];
    if (news) notices.say(news);
    if (action === "mute") void local.setAudio(false);
    if (action === "stop_video") void local.setCamera(false);
  });
  obey();
  return local.on("change", obey); // a device may be asked for later than the policy came
}
