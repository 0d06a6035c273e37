import { createEvents } from "../mesh/events.ts";

/** Short news for everyone: shown for a while, and read out by screen readers. */
export interface Notice {
  id: number;
  text: string;
}

const shownMs = 6_000;
const maxShown = 3;

function createNotices() {
  const events = createEvents<{ change: undefined }>();
  let list: Notice[] = [];
  let next = 0;
  const set = (notices: Notice[]) => {
    list = notices;
    events.emit("change", undefined);
  };
  return {
    on: events.on,
    list: () => list,
    say(text: string): void {
      const id = next++;
      set([...list, { id, text }].slice(-maxShown));
      setTimeout(() => set(list.filter((notice) => notice.id !== id)), shownMs);
    },
  };
}

export const notices = createNotices();
