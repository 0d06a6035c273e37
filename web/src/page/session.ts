/** Being in a meeting, as the page sees it: a mesh that sends what the user has switched on. */
import type { Api } from "../mesh/api.ts";
import type { LocalMedia } from "../mesh/local-media.ts";
import { createMesh, type Mesh } from "../mesh/mesh.ts";
import type { PeerState } from "../mesh/peer.ts";
import { createSignaling, openSocket } from "../mesh/signaling.ts";
import { notices } from "./live.ts";
import { base } from "./place.ts";
import { hostKeyOf } from "./storage.ts";
import { texts } from "./texts.ts";

declare global {
  interface Window {
    /** For the console, tests and embedders: `signald.mesh.peers()` holds each RTCPeerConnection. */
    signald?: { mesh: Mesh };
  }
}

export interface Session {
  mesh: Mesh;
  key: string;
  name: string;
  leave(): void;
}

/** Joins, or throws a SignalError that says why not. */
export async function joinMeeting(
  api: Api,
  local: LocalMedia,
  seat: { key: string; name: string; password: string },
): Promise<Session> {
  const mesh = createMesh({ signaling: createSignaling(openSocket(base)), api });
  const push = () => {
    mesh.setTracks(local.tracks());
    mesh.setMedia(local.state());
  };
  push();
  mesh.on("trouble", (error) => console.warn("signald:", error));
  const hostKey = hostKeyOf(seat.key);
  await mesh.join({
    meetingId: seat.key,
    name: seat.name,
    ...(hostKey ? { hostKey } : {}),
    ...(seat.password ? { password: seat.password } : {}),
  });
  push(); // what was switched while joining
  const stopPushing = local.on("change", push);
  announce(mesh);
  obeyPolicy(mesh, local);
  window.signald = { mesh };

  return {
    mesh,
    key: seat.key,
    name: seat.name,
    leave() {
      stopPushing();
      const left = mesh.leave();
      // The socket has said so, too, if it could: this one gets through while the page closes.
      if (left) navigator.sendBeacon(api.leaveUrl, JSON.stringify(left));
      delete window.signald;
    },
  };
}

/** Says who comes and goes, and whose connection is in trouble. */
function announce(mesh: Mesh): void {
  const states = new Map<string, PeerState>();
  let wasReconnecting = false;
  mesh.on("joined", (peer) => notices.say(texts.joined(peer.name)));
  mesh.on("left", ({ peer }) => notices.say(texts.left(peer.name)));
  mesh.on("change", () => {
    const view = mesh.view();
    for (const { info, state } of view.peers) {
      const before = states.get(info.peer_id);
      states.set(info.peer_id, state);
      // A first connection is no news; that it broke, came back, or never came is.
      const news =
        before !== undefined && before !== state && (before !== "connecting" || state === "failed");
      if (news) notices.say(texts.peerState(info.name, texts.states[state]));
    }
    if (wasReconnecting && view.status === "joined") notices.say(texts.back_online);
    wasReconnecting = view.status === "reconnecting";
  });
}

/** What the host forbids is switched off here; nobody else could. */
function obeyPolicy(mesh: Mesh, local: LocalMedia): void {
  mesh.on("change", () => {
    const { role, policy } = mesh.view();
    if (role === "host" || !policy) return;
    const { audio, video } = local.state();
    if (!policy.speak && audio) void local.setAudio(false);
    if (!policy.camera && video) void local.setCamera(false);
  });
}
