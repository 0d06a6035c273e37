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

/** What the budget makes smaller for each receiver. `ideal` values never make a request fail. */
const video: MediaTrackConstraints = {
  width: { ideal: 1280 },
  height: { ideal: 720 },
  frameRate: { ideal: 24, max: 30 },
};

/** Which of several devices, by deviceId. One that is gone is replaced by any other. */
export interface Choice {
  audio?: string;
  camera?: string;
}

/** Microphone and camera; else whichever of the two there is; else nothing. Never throws. */
export async function capture(
  devices: Devices | undefined,
  wanted: { audio: boolean; camera: boolean } = { audio: true, camera: true },
  choice: Choice = {},
): Promise<Capture> {
  if (!devices) return { audio: null, camera: null, problem: "insecure" };
  const attempts: (typeof wanted)[] = [];
  if (wanted.audio && wanted.camera) attempts.push(wanted);
  if (wanted.audio) attempts.push({ audio: true, camera: false });
  if (wanted.camera) attempts.push({ audio: false, camera: true });
  let problem: MediaProblem | null = null;
  for (const attempt of attempts) {
    try {
      const stream = await open(devices, attempt, choice);
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

/** The chosen devices, or any in place of one that is gone. `exact`: Chromium takes "ideal" for no wish at all. */
async function open(
  devices: Devices,
  wanted: { audio: boolean; camera: boolean },
  { audio: mic, camera: eye }: Choice,
): Promise<MediaStream> {
  const exactly = (on: boolean, constraints: MediaTrackConstraints, id: string | undefined) =>
    on && (id ? { ...constraints, deviceId: { exact: id } } : constraints);
  const choices = [[mic, eye], ...(mic && eye ? [[mic], ["", eye]] : []), ...(mic || eye ? [[]] : [])];
  for (const [i, [micId, eyeId]] of choices.entries()) {
    try {
      return await devices.getUserMedia({
        audio: exactly(wanted.audio, audio, micId),
        video: exactly(wanted.camera, video, eyeId),
      });
    } catch (error) {
      const gone = (error as Error).name === "OverconstrainedError" && i < choices.length - 1;
      if (!gone) throw error;
    }
  }
  throw new Error("unreachable: the last choice returns or throws");
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
