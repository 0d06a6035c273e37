/** What tells that somebody rings: a tone, and a notification while the page is not seen. */

const everyMs = 2_600;
/** Two rising calls: hertz, and seconds after the beginning. */
const notes = [
  [587, 0],
  [784, 0.16],
  [587, 0.55],
  [784, 0.71],
] as const;
const noteSeconds = 0.3;

/**
 * Sounds until the answer is called. A browser that plays nothing before the first press on the page stays
 * silent until then: the title blinks in any case.
 */
export function startRingtone(): () => void {
  let context: AudioContext;
  try {
    context = new AudioContext();
  } catch {
    return () => {}; // no sound at all here
  }
  const ring = () => {
    if (context.state === "running") for (const [hertz, at] of notes) play(context, hertz, at);
  };
  const wake = () => void context.resume().catch(() => {});
  const gestures = ["pointerdown", "keydown"] as const;
  for (const name of gestures) addEventListener(name, wake);
  context.addEventListener("statechange", ring);
  const timer = setInterval(ring, everyMs);
  ring();
  wake();
  return () => {
    clearInterval(timer);
    for (const name of gestures) removeEventListener(name, wake);
    context.removeEventListener("statechange", ring);
    void context.close();
  };
}

function play(context: AudioContext, hertz: number, at: number): void {
  const begin = context.currentTime + at;
  const tone = new OscillatorNode(context, { frequency: hertz });
  const loudness = new GainNode(context, { gain: 0 });
  loudness.gain.setValueAtTime(0, begin);
  loudness.gain.linearRampToValueAtTime(0.18, begin + 0.02);
  loudness.gain.exponentialRampToValueAtTime(0.001, begin + noteSeconds);
  tone.connect(loudness).connect(context.destination);
  tone.start(begin);
  tone.stop(begin + noteSeconds);
}

/** Only where it was allowed before, and while nobody sees the page. Returns what takes it back. */
export function notify(text: string, tag: string): () => void {
  if (!document.hidden || !("Notification" in window) || Notification.permission !== "granted")
    return () => {};
  try {
    const note = new Notification(text, { tag });
    note.onclick = () => {
      window.focus();
      note.close();
    };
    return () => note.close();
  } catch {
    return () => {}; // phones show none that a page makes by itself
  }
}

/** Whether asking makes sense. */
export const mayAskToNotify = () => "Notification" in window && Notification.permission === "default";
