import { io, type Socket } from "socket.io-client";
import { expect, join, test } from "./fixtures.ts";
import { type Server, startServer } from "./server.ts";

const names = [
  ["Ada Lovelace", "王宇", "Grace Hopper", "Linus", "Barbara Liskov, who has a long name"],
  ["Dennis", "Ken", "Margaret Hamilton", "李雷", "韩梅梅"],
  ["Alan", "Edsger", "Donald", "Tony", "Niklaus"],
].flat();

let server: Server;
test.beforeAll(async () => {
  server = await startServer({ SIGNALD_MAX_PEERS: "16" });
});
test.afterAll(() => server.stop());

/** Everyone but us, without media. */
async function crowd(key: string): Promise<Socket[]> {
  const sockets: Socket[] = [];
  for (const name of names) {
    const socket = io(server.url, { transports: ["websocket"], forceNew: true });
    sockets.push(socket);
    const answer = await socket.timeout(10_000).emitWithAck("join", { v: 2, meeting_id: key, user_id: name });
    expect(answer.ok).toBe(true);
  }
  return sockets;
}

const screens = [
  { width: 390, height: 844 },
  { width: 844, height: 390 },
  { width: 1280, height: 800 },
];

test("sixteen people fit on any screen, each with a name that can be read", async ({ visitor }) => {
  const key = await server.createMeeting();
  const sockets = await crowd(key);
  try {
    const page = await visitor.page({ baseURL: server.url });
    await join(page, key, "Me");
    for (const viewport of screens) {
      await page.setViewportSize(viewport);
      await expect(page.getByTestId("tile")).toHaveCount(16);
      await expect.poll(() => page.evaluate(misplaced)).toEqual([]);
    }
  } finally {
    for (const socket of sockets) socket.disconnect();
  }
});

/** What leaves the screen or its tile, lies over something else, or is too short to be read. Runs in the page. */
function misplaced(): string[] {
  const faults: string[] = [];
  const inside = (a: DOMRect, b: DOMRect) =>
    a.left >= b.left - 1 && a.right <= b.right + 1 && a.top >= b.top - 1 && a.bottom <= b.bottom + 1;
  const apart = (a: DOMRect, b: DOMRect) =>
    a.right <= b.left + 1 || b.right <= a.left + 1 || a.bottom <= b.top + 1 || b.bottom <= a.top + 1;
  const screen = new DOMRect(0, 0, innerWidth, innerHeight);
  for (const tile of document.querySelectorAll('[data-testid="tile"]')) {
    const box = tile.getBoundingClientRect();
    const name = tile.querySelector(".name");
    const who = name?.textContent ?? "nobody";
    if (!inside(box, screen)) faults.push(`${who} is not on the screen`);
    const parts = [".plate", ".state", ".avatar"].flatMap((part) => {
      const found = tile.querySelector(part);
      return found ? [{ part, box: found.getBoundingClientRect() }] : [];
    });
    for (const [i, { part, box: one }] of parts.entries()) {
      if (!inside(one, box)) faults.push(`${part} of ${who} leaves its tile`);
      for (const other of parts.slice(i + 1)) {
        if (!apart(one, other.box)) faults.push(`${part} of ${who} lies over ${other.part}`);
      }
    }
    if (name && name.clientWidth < Math.min(name.scrollWidth, 40)) faults.push(`${who} cannot be read`);
  }
  return faults;
}
