/** Puts a decision of the budget into force on the senders of a connection. */
import type { Encoding, Shape } from "./budget.ts";

type Slot = "audio" | "camera" | "screen";
export type Senders = Partial<Record<Slot, RTCRtpSender>>;

/** One at a time: each sets what the browser just gave, and nothing in between may have changed it. */
export async function encode(senders: Senders, shape: Shape): Promise<void> {
  if (senders.audio) {
    await adjust(senders.audio, {
      maxBitrate: shape.audioKbps * 1_000,
      priority: "high",
      networkPriority: "high",
    });
  }
  if (senders.camera) await adjust(senders.camera, picture(senders.camera, shape.camera));
  if (senders.screen) await adjust(senders.screen, picture(senders.screen, shape.screen));
}

function picture(sender: RTCRtpSender, encoding: Encoding): Partial<RTCRtpEncodingParameters> {
  if (!encoding.active) return { active: false };
  return {
    active: true,
    maxBitrate: encoding.maxKbps * 1_000,
    maxFramerate: encoding.fps,
    scaleResolutionDownBy: Math.max(1, linesOf(sender.track) / encoding.height),
    priority: "low",
    networkPriority: "low",
  };
}

/** A phone held upright has its lines on the short side. */
function linesOf(track: MediaStreamTrack | null): number {
  const { width, height } = track?.getSettings?.() ?? {};
  return Math.min(width ?? 720, height ?? 720);
}

async function adjust(sender: RTCRtpSender, wanted: Partial<RTCRtpEncodingParameters>): Promise<void> {
  const parameters = sender.getParameters();
  const [encoding] = parameters.encodings ?? [];
  if (!encoding) return; // not negotiated yet
  const same = Object.entries(wanted).every(
    ([name, value]) => encoding[name as keyof RTCRtpEncodingParameters] === value,
  );
  if (same) return;
  Object.assign(encoding, wanted);
  await sender.setParameters(parameters);
}
