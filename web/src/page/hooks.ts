import { useEffect, useLayoutEffect, useReducer, useRef, useState } from "preact/hooks";
import { sound } from "./sound.ts";

interface Source {
  on(name: "change", listener: () => void): () => void;
}

/** Draws again whenever the source says that it has changed. */
export function useSource(source: Source | null): void {
  const [, redraw] = useReducer<number, void>((n) => n + 1, 0);
  useLayoutEffect(() => source?.on("change", () => redraw()), [source]);
}

/** True once `now` has been true for so long without a break: what is over at once is not worth a word. */
export function useLasting(now: boolean, ms: number): boolean {
  const [lasting, setLasting] = useState(false);
  useEffect(() => {
    setLasting(false);
    if (!now) return;
    const timer = setTimeout(() => setLasting(true), ms);
    return () => clearTimeout(timer);
  }, [now, ms]);
  return now && lasting;
}

/** A new view begins at its heading, for the keyboard and for screen readers. */
export function useHeadingFocus() {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  return heading;
}

/** Plays a track, or several together, in a video element, sound through the speaker that was chosen. */
export function usePlayback(...tracks: (MediaStreamTrack | null)[]) {
  const video = useRef<HTMLVideoElement>(null);
  const present = tracks.filter((track) => track !== null);
  const ids = present.map((track) => track.id).join(" ");
  useLayoutEffect(() => (video.current ? sound.attach(video.current) : undefined), []);
  // The tracks are the same as long as their ids are.
  useLayoutEffect(() => {
    if (!video.current) return;
    video.current.srcObject = present.length > 0 ? new MediaStream(present) : null;
    if (present.length > 0) sound.play(video.current);
  }, [ids]);
  return video;
}

/** Keeps `fit` informed of the element's size. */
export function useSize(fit: (width: number, height: number) => void) {
  const element = useRef<HTMLUListElement>(null);
  const latest = useRef(fit);
  latest.current = fit;
  useLayoutEffect(() => {
    const watched = element.current;
    if (!watched) return;
    const observer = new ResizeObserver(([entry]) => {
      // Not clientHeight, which rounds up: a tile half a pixel too high would make the list scroll.
      if (entry) latest.current(Math.floor(entry.contentRect.width), Math.floor(entry.contentRect.height));
    });
    observer.observe(watched);
    return () => observer.disconnect();
  }, []);
  return element;
}

/** Tells how tall an element is on the screen, in device pixels; 0 while nobody can see it. */
export function useShown<T extends Element>(tell: (height: number) => void) {
  const element = useRef<T>(null);
  const latest = useRef(tell);
  latest.current = tell;
  useLayoutEffect(() => {
    const watched = element.current;
    if (!watched) return;
    let height: number | undefined;
    let inView: boolean | undefined;
    function now(): void {
      if (height === undefined || inView === undefined) return;
      latest.current(inView && !document.hidden ? Math.round(height * devicePixelRatio) : 0);
    }
    const view = new IntersectionObserver(
      (entries) => {
        inView = entries.at(-1)?.isIntersecting ?? true;
        now();
      },
      { threshold: 0.02 },
    );
    const size = new ResizeObserver(([entry]) => {
      height = entry?.contentRect.height ?? 0;
      now();
    });
    view.observe(watched);
    size.observe(watched);
    document.addEventListener("visibilitychange", now);
    return () => {
      view.disconnect();
      size.disconnect();
      document.removeEventListener("visibilitychange", now);
    };
  }, []);
  return element;
}
