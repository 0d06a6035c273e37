/** A small typed event source. Listeners run in the order they were added. */
export interface Events<M> {
  on<K extends keyof M>(name: K, listener: (payload: M[K]) => void): () => void;
  emit<K extends keyof M>(name: K, payload: M[K]): void;
}

/**
 * Calls what belongs to others. If it throws that is its owner's trouble, and nobody else's: the browser tells of it as of
 * any uncaught error.
 */
export function tell(call: () => void): void {
  try {
    call();
  } catch (error) {
    if (typeof reportError === "function") reportError(error);
    else console.error(error);
  }
}

export function createEvents<M>(): Events<M> {
  const listeners = new Map<keyof M, Set<(payload: never) => void>>();
  return {
    on(name, listener) {
      const set = listeners.get(name) ?? new Set();
      listeners.set(name, set);
      set.add(listener);
      return () => set.delete(listener);
    },
    emit(name, payload) {
      for (const listener of [...(listeners.get(name) ?? [])]) {
        tell(() => (listener as (payload: unknown) => void)(payload));
      }
    },
  };
}
