/** The mesh client as others use it: packages/mesh is built from here. */
import { createApi } from "./api.ts";
import { createMesh, type Mesh } from "./mesh.ts";
import type { RtcEnvironment } from "./rtc.ts";
import { createSignaling, openSocket } from "./signaling.ts";

export { type Api, createApi } from "./api.ts";
export { type Arrival, createArrival } from "./arrival.ts";
export { type Calls, createCalls, type Incoming, type Outcome, type Outgoing } from "./calls.ts";
export type { Chat, SendOptions } from "./chat.ts";
export { codeOf, FileError, type FileFailure, SignalError } from "./errors.ts";
export {
  type FetchOptions,
  type FileOffer,
  type Files,
  fileOf,
  type Sending,
  type ShareOptions,
} from "./files.ts";
export { createLocalMedia, type LocalMedia } from "./local-media.ts";
export type { Choice, Devices, MediaProblem } from "./media.ts";
export {
  type Away,
  createMesh,
  type JoinOptions,
  type Mesh,
  type MeshEvents,
  type MeshOptions,
  type MeshStatus,
  type MeshView,
  type PeerView,
  type Seat,
} from "./mesh.ts";
export type { Peer, PeerState, Tracks } from "./peer.ts";
export type {
  ChatMessage,
  ChatUpdate,
  CreatedMeeting,
  Hearing,
  Invite,
  InviteState,
  Matrix,
  MediaState,
  MeetingInfo,
  PeerInfo,
  Policy,
} from "./protocol.ts";
export type { Quality } from "./quality.ts";
export type { Identity, Rtc, RtcEnvironment } from "./rtc.ts";
export { createSignaling, openSocket, type Signaling } from "./signaling.ts";

/**
 * A mesh at the server of this address, such as `https://meet.example.org/`. `rtc`: where there is no browser.
 * `token`: a join token, who we are by the word of an application.
 */
export function openMesh(
  server: string,
  { token, ...options }: { rtc?: RtcEnvironment; token?: string } = {},
): Mesh {
  const base = server.endsWith("/") ? server : `${server}/`;
  return createMesh({
    signaling: createSignaling(openSocket(base, token)),
    api: createApi(base),
    ...options,
  });
}
