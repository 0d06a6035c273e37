/** The window's title: what is shown, and now and then who rings. */
const blinkMs = 1_000;
let shown = "signald";
let blinking: { text: string; on: boolean } | undefined;

function draw(): void {
  document.title = blinking?.on ? blinking.text : shown;
}

export function setTitle(text: string): void {
  shown = text;
  draw();
}

/** The text and the title take turns, for who looks elsewhere. Returns what ends that. */
export function blinkTitle(text: string): () => void {
  const mine = { text, on: true };
  blinking = mine;
  draw();
  const timer = setInterval(() => {
    mine.on = !mine.on;
    draw();
  }, blinkMs);
  return () => {
    clearInterval(timer);
    if (blinking === mine) blinking = undefined;
    draw();
  };
}
