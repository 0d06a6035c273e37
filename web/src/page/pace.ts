/** Runs at most once in a while, however often it is asked to: progress is told far more often than is drawn. */
export function paced(run: () => void, everyMs = 150): () => void {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    setTimeout(() => {
      asked = false;
      run();
    }, everyMs);
  };
}
