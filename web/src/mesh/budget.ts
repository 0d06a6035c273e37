/**
 * One uplink for everyone: in a mesh each participant sends its picture once to every other one, over the
 * same line. Without a common budget the connections push each other aside. Here is decided, from what
 * was measured, how much each gets: pure functions, no clock and no browser.
 *
 * - Sound comes first, and is set aside before any picture.
 * - Who shows no picture of us gets none; who shows a small one gets a small one.
 * - Loss with more than half of the others is our own line's: everyone gets less. Loss with one is that
 *   one's line, and the browser's own estimate for it makes that picture smaller.
 */

/** What a receiver shows of us: the camera's height in its pixels, 0 for not at all; the screen or not. */
export interface Wish {
  camera: number;
  screen: boolean;
}

export const everything: Wish = { camera: 720, screen: true };

/** One receiver, as measured. */
export interface Link {
  id: string;
  wish: Wish;
  /** What the browser believes gets through to it, in kbit/s; null before it knows. */
  availableKbps: number | null;
  /** Share of our packets that it did not get, 0–1; null before it has said. */
  loss: number | null;
}

export interface Sources {
  camera: boolean;
  screen: boolean;
}

export interface Encoding {
  active: boolean;
  maxKbps: number;
  /** Lines of the picture; it is never made larger than it is. */
  height: number;
  fps: number;
}

export interface Shape {
  audioKbps: number;
  camera: Encoding;
  screen: Encoding;
}

export const uplink = { startKbps: 3_000, leastKbps: 100, mostKbps: 6_000 } as const;

const audioKbps = { most: 40, least: 16 };
/** Below this a picture is worse than none. */
const leastPictureKbps = 50;
const screenWeight = 2;
const screenMostKbps = 2_000;

/** From `fromKbps` a picture of this size looks well; more than `mostKbps` is wasted on it. */
const rungs = [
  { height: 720, fps: 30, fromKbps: 1_300, mostKbps: 2_000 },
  { height: 540, fps: 30, fromKbps: 750, mostKbps: 1_300 },
  { height: 360, fps: 24, fromKbps: 380, mostKbps: 750 },
  { height: 240, fps: 20, fromKbps: 200, mostKbps: 400 },
  { height: 180, fps: 15, fromKbps: 100, mostKbps: 220 },
  { height: 120, fps: 10, fromKbps: 0, mostKbps: 120 },
] as const;
const smallest = rungs[5];
/** A larger picture must be worth more than the flicker of coming and going. */
const stepUp = 1.2;

/** The budget for the next while, after `sentKbps` were sent under the present one. */
export function nextUplink(kbps: number, links: Link[], sentKbps: number): number {
  const losses = links.flatMap(({ loss }) => (loss === null ? [] : [loss])).sort((a, b) => a - b);
  const usual = losses[Math.floor((losses.length - 1) / 2)];
  if (usual === undefined) return kbps;
  if (usual > 0.1) return Math.max(uplink.leastKbps, Math.round(Math.min(kbps, sentKbps) * 0.8));
  if (usual < 0.02) return Math.min(uplink.mostKbps, Math.round(kbps * 1.06));
  return kbps;
}

/** Divides the budget. `before` is the division in force, for the sake of calm. */
export function divide(
  kbps: number,
  links: Link[],
  sources: Sources,
  before: ReadonlyMap<string, Shape> = new Map(),
): Map<string, Shape> {
  const audio = clamp(kbps / Math.max(1, 2 * links.length), audioKbps.least, audioKbps.most);
  const wanted = links.flatMap((link) => demands(link, sources));
  const given = fill(kbps - audio * links.length, wanted);
  const share = (id: string, what: Demand["what"]) =>
    given.get(wanted.find((demand) => demand.id === id && demand.what === what) as Demand) ?? 0;
  return new Map(
    links.map((link) => [
      link.id,
      {
        audioKbps: Math.round(audio),
        camera: cameraFor(link, share(link.id, "camera"), before.get(link.id)?.camera),
        screen: screenFor(share(link.id, "screen")),
      },
    ]),
  );
}

interface Demand {
  id: string;
  what: "camera" | "screen";
  weight: number;
  most: number;
}

function demands({ id, wish }: Link, sources: Sources): Demand[] {
  const list: Demand[] = [];
  if (sources.camera && wish.camera > 0)
    list.push({ id, what: "camera", weight: 1, most: largestFor(wish).mostKbps });
  if (sources.screen && wish.screen)
    list.push({ id, what: "screen", weight: screenWeight, most: screenMostKbps });
  return list;
}

/** Everyone alike by weight; what one has no use for goes to the others. */
function fill(kbps: number, wanted: Demand[]): Map<Demand, number> {
  const given = new Map<Demand, number>();
  let left = Math.max(0, kbps);
  let open = wanted;
  while (open.length > 0) {
    const each = left / open.reduce((sum, { weight }) => sum + weight, 0);
    const content = open.filter(({ weight, most }) => most <= each * weight);
    if (content.length === 0) {
      for (const demand of open) given.set(demand, each * demand.weight);
      break;
    }
    for (const demand of content) {
      given.set(demand, demand.most);
      left -= demand.most;
    }
    open = open.filter((demand) => !content.includes(demand));
  }
  return given;
}

/** The smallest picture that fills what the receiver shows. */
const largestFor = ({ camera }: Wish) => rungs.findLast(({ height }) => height >= camera) ?? rungs[0];

function cameraFor(link: Link, share: number, before: Encoding | undefined): Encoding {
  // The browser keeps to its estimate by itself. Here only the size follows it.
  const carried = Math.min(share, link.availableKbps ?? share);
  const limit = largestFor(link.wish).height;
  const rung =
    rungs.find(({ height, fromKbps }) => {
      const up = before?.active && height > before.height ? stepUp : 1;
      return height <= limit && fromKbps * up <= carried;
    }) ?? smallest;
  return {
    active: share >= leastPictureKbps,
    maxKbps: Math.round(share),
    height: rung.height,
    fps: rung.fps,
  };
}

/** Text must stay readable: fewer pictures a second rather than coarser ones. */
const screenFor = (share: number): Encoding => ({
  active: share >= leastPictureKbps,
  maxKbps: Math.round(share),
  height: Number.POSITIVE_INFINITY,
  fps: share >= 1_000 ? 15 : share >= 400 ? 8 : 5,
});

const clamp = (value: number, least: number, most: number) => Math.min(most, Math.max(least, value));
