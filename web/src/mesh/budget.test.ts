import { expect, test } from "vitest";
import { divide, everything, type Link, nextUplink, type Shape, uplink } from "./budget.ts";

const link = (id: string, rest: Partial<Link> = {}): Link => ({
  id,
  wish: everything,
  availableKbps: null,
  loss: null,
  ...rest,
});
const crowd = (n: number, rest: Partial<Link> = {}) =>
  Array.from({ length: n }, (_, i) => link(`p${i}`, rest));
const camera = { camera: true, screen: false };
const both = { camera: true, screen: true };
const total = (shapes: Map<string, Shape>) =>
  [...shapes.values()].reduce((sum, shape) => {
    const pictures = [shape.camera, shape.screen].filter(({ active }) => active);
    return sum + shape.audioKbps + pictures.reduce((kbps, { maxKbps }) => kbps + maxKbps, 0);
  }, 0);
const first = (shapes: Map<string, Shape>) => shapes.get("p0") as Shape;

test("whoever there is, together they never get more than there is", () => {
  for (const kbps of [300, 1_000, 3_000, 6_000]) {
    for (let n = 1; n <= 15; n++) {
      expect(total(divide(kbps, crowd(n), both))).toBeLessThanOrEqual(Math.max(kbps, n * 16) + 2 * n);
    }
  }
});

test("the more people, the smaller the picture", () => {
  const heights = [1, 2, 3, 5, 7, 11].map((n) => first(divide(3_000, crowd(n), camera)).camera.height);
  expect(heights).toEqual([720, 720, 540, 360, 360, 240]);
  const rates = [1, 2, 3, 5, 7, 11].map((n) => first(divide(3_000, crowd(n), camera)).camera.maxKbps);
  expect([...rates].sort((a, b) => b - a)).toEqual(rates);
});

test("sound is set aside first: on a bad line the picture goes, the sound stays", () => {
  const shape = first(divide(150, crowd(3), both));
  expect(shape.camera.active).toBe(false);
  expect(shape.audioKbps).toBeGreaterThanOrEqual(16);
});

test("who shows no picture of us costs nothing, and the others get more", () => {
  const blind = link("p9", { wish: { camera: 0, screen: false } });
  const shapes = divide(2_000, [...crowd(2), blind], both);
  expect(shapes.get("p9")).toMatchObject({ camera: { active: false }, screen: { active: false } });
  expect(first(shapes).camera.maxKbps).toBeGreaterThan(first(divide(2_000, crowd(3), both)).camera.maxKbps);
});

test("a small tile gets a small picture", () => {
  const small = link("p0", { wish: { camera: 170, screen: true } });
  const shapes = divide(3_000, [small, link("p1")], camera);
  expect(first(shapes).camera).toMatchObject({ height: 180, fps: 15 });
  expect(shapes.get("p1")?.camera.height).toBe(720);
});

test("a receiver with a bad line gets a smaller picture, and nobody else does", () => {
  const shapes = divide(3_000, [link("p0", { availableKbps: 150 }), link("p1")], camera);
  expect(first(shapes).camera.height).toBe(180);
  expect(shapes.get("p1")?.camera.height).toBe(720);
});

test("a shared screen keeps its size, and gets more than a face", () => {
  const shape = first(divide(1_500, crowd(2), both));
  expect(shape.screen.maxKbps).toBeGreaterThan(shape.camera.maxKbps);
  expect(shape.screen.height).toBe(Number.POSITIVE_INFINITY);
});

test("a picture grows only when there is clearly room for it", () => {
  const small = divide(420, crowd(1, { availableKbps: 379 }), camera);
  expect(first(small).camera.height).toBe(240);
  const little = divide(3_000, crowd(1, { availableKbps: 400 }), camera, small);
  expect(first(little).camera.height).toBe(240);
  const enough = divide(3_000, crowd(1, { availableKbps: 460 }), camera, small);
  expect(first(enough).camera.height).toBe(360);
});

test("loss with most of the others lowers the budget below what was sent", () => {
  const links = [link("a", { loss: 0.2 }), link("b", { loss: 0.15 }), link("c", { loss: 0 })];
  expect(nextUplink(3_000, links, 1_000)).toBe(800);
});

test("loss with one of three is that one's line", () => {
  const links = [link("a", { loss: 0.5 }), link("b", { loss: 0.01 }), link("c", { loss: 0 })];
  expect(nextUplink(3_000, links, 2_500)).toBeGreaterThan(3_000);
});

test("without loss the budget comes back, and ends at its bound", () => {
  let kbps = 500;
  for (let i = 0; i < 100; i++) kbps = nextUplink(kbps, [link("a", { loss: 0 })], kbps);
  expect(kbps).toBe(uplink.mostKbps);
});

test("with no news the budget stays, and it never goes to nothing", () => {
  expect(nextUplink(3_000, crowd(3), 0)).toBe(3_000);
  expect(nextUplink(3_000, [link("a", { loss: 1 })], 0)).toBe(uplink.leastKbps);
});
