/** Microphone, camera and screen: what can be had, and why the rest can't. */

export type MediaProblem = "denied" | "missing" | "busy" | "insecure";

export interface Capture {
  audio: MediaStreamTrack | null;
  camera: MediaStreamTrack | null;
  /** Why something asked for is not there. */
  problem: MediaProblem | null;
}

export type Devices = Pick<MediaDevices, "getUserMedia" | "getDisplayMedia">;

const audio: MediaTrackConstraints = {
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
};

/**
 * Small for a mesh: each participant sends the picture once to every other one.
 * `ideal` values never make a request fail.
 */
const video: MediaTrackConstraints = {
  width: { ideal: 640 },
  height: { ideal: 360 },
  frameRate: { ideal: 24, max: 30 },
};

/** Microphone and camera; else whichever of the two there is; else nothing. Never throws. */
export async function capture(
  devices: Devices | undefined,
  wanted: { audio: boolean; camera: boolean } = { audio: true, camera: true },
): Promise<Capture> {
  if (!devices) return { audio: null, camera: null, problem: "insecure" };
  const attempts: MediaStreamConstraints[] = [];
  if (wanted.audio && wanted.camera) attempts.push({ audio, video });
  if (wanted.audio) attempts.push({ audio });
  if (wanted.camera) attempts.push({ video });
  let problem: MediaProblem | null = null;
  for (const constraints of attempts) {
    try {
      const stream = await devices.getUserMedia(constraints);
      return {
        audio: stream.getAudioTracks()[0] ?? null,
        camera: stream.getVideoTracks()[0] ?? null,
        problem,
      };
    } catch (error) {
      problem ??= problemOf(error);
    }
  }
  return { audio: null, camera: null, problem };
}

/** A picture of a screen or window, null if the user thought better of it. */
export async function captureScreen(devices: Devices | undefined): Promise<MediaStreamTrack | null> {
  try {
    const stream = await devices?.getDisplayMedia({ video: { frameRate: { max: 15 } }, audio: false });
    const track = stream?.getVideoTracks()[0] ?? null;
    if (track) track.contentHint = "detail";
    return track;
  } catch {
    return null;
  }
}

function problemOf(error: unknown): MediaProblem {
  switch (error instanceof Error ? error.name : "") {
    case "NotAllowedError":
    case "SecurityError":
      return "denied";
    case "NotReadableError":
    case "AbortError":
      return "busy";
    default:
      return "missing";
  }
}
