import { expect, test } from "vitest";
import { fitTiles } from "./fit.ts";

const spaces = [
  ["a phone upright", 336, 560],
  ["a phone on its side", 740, 280],
  ["a laptop", 1366, 640],
  ["a wide screen", 2560, 1200],
] as const;

test.each(spaces)("up to sixteen tiles fit %s without scrolling", (_, width, height) => {
  for (let count = 1; count <= 16; count++) {
    const tile = fitTiles(count, width, height, 10);
    const columns = Math.floor((width + 10) / (tile.width + 10));
    const rows = Math.ceil(count / columns);
    expect(rows * tile.height + (rows - 1) * 10).toBeLessThanOrEqual(height);
    expect(tile.width).toBeGreaterThanOrEqual(84);
  }
});

test("a crowd scrolls instead of shrinking to nothing", () => {
  expect(fitTiles(200, 360, 560, 10).width).toBeGreaterThanOrEqual(84);
});
