/** Tells when the network may be another one, or this machine has slept: whoever holds a connection should look at it. */
export function watchNetwork(look: () => void): () => void {
  const awake = () => {
    if (!document.hidden) look();
  };
  // Not in every browser.
  const { connection } = navigator as { connection?: EventTarget };
  addEventListener("online", look);
  connection?.addEventListener("change", look);
  document.addEventListener("visibilitychange", awake);
  return () => {
    removeEventListener("online", look);
    connection?.removeEventListener("change", look);
    document.removeEventListener("visibilitychange", awake);
  };
}
