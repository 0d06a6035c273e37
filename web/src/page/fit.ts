/** How large `count` tiles can be in a space, all alike and none cut off. */

export interface TileSize {
  width: number;
  height: number;
}

const widest = 16 / 9;
const tallest = 2 / 3;
/** Below this a face is no face any more: rather scroll. */
const minWidth = 84;

export function fitTiles(count: number, width: number, height: number, gap: number): TileSize {
  let best: TileSize = { width: 0, height: 0 };
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const cell = {
      width: (width - gap * (columns - 1)) / columns,
      height: (height - gap * (rows - 1)) / rows,
    };
    const tile = {
      width: Math.min(cell.width, cell.height * widest),
      height: Math.min(cell.height, cell.width / tallest),
    };
    if (tile.width > 0 && tile.height > 0 && tile.width * tile.height > best.width * best.height) best = tile;
  }
  if (best.width < minWidth) {
    const columns = Math.max(1, Math.floor((width + gap) / (minWidth + gap)));
    const each = (width - gap * (columns - 1)) / columns;
    best = { width: each, height: each / (4 / 3) };
  }
  return { width: Math.floor(best.width), height: Math.floor(best.height) };
}
