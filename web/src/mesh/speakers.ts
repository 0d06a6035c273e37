/** Who is speaking, by how loud the sound is that arrives. */

export interface Speakers {
  /** Takes the loudness of everyone, 0–1, as of now in ms. Returns whether the answer changed. */
  hear(levels: Iterable<[string, number]>, now: number): boolean;
  speaking(id: string): boolean;
}

/** Breathing and a fan stay below this. */
const loud = 0.03;
/** A pause between two words is no end. */
const holdMs = 900;
/** No multiple of it is a likely beat: a look in step with the sound would always fall between two beats. */
const lookEveryMs = 110;

export function createSpeakers(): Speakers {
  const lastLoud = new Map<string, number>();
  let current = new Set<string>();
  return {
    speaking: (id) => current.has(id),
    hear(levels, now) {
      const present = new Map(levels);
      for (const [id, level] of present) if (level >= loud) lastLoud.set(id, now);
      for (const [id, at] of lastLoud) if (!present.has(id) || now - at > holdMs) lastLoud.delete(id);
      const changed = lastLoud.size !== current.size || [...lastLoud.keys()].some((id) => !current.has(id));
      current = new Set(lastLoud.keys());
      return changed;
    },
  };
}

/** How loud what a receiver just played was, 0–1. */
export function levelOf(receiver: Pick<RTCRtpReceiver, "getSynchronizationSources"> | undefined): number {
  return Math.max(
    0,
    ...(receiver?.getSynchronizationSources?.() ?? []).map((source) => source.audioLevel ?? 0),
  );
}

/** Listens to all peers until stopped. */
export function listenTo(
  peers: ReadonlyMap<string, { loudness(): number }>,
  onChange: () => void,
): { speaking(id: string): boolean; stop(): void } {
  const speakers = createSpeakers();
  const timer = setInterval(() => {
    const levels = [...peers].map(([id, peer]): [string, number] => [id, peer.loudness()]);
    if (speakers.hear(levels, performance.now())) onChange();
  }, lookEveryMs);
  return { speaking: speakers.speaking, stop: () => clearInterval(timer) };
}
