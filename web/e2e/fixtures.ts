import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  expect,
  type Locator,
  type Page,
  test as plain,
} from "@playwright/test";
import { launch } from "./browser.ts";
import { type Server, startServer } from "./server.ts";

declare global {
  interface Window {
    violations: string[];
    observed: Observed;
  }
}

/** What a page has seen since observe(). */
interface Observed {
  looks: number;
  mostTiles: number;
  fewestTiles: number;
  peers: string[];
  /** Flows whose bytes became fewer. */
  fell: string[];
  /** The longest time, in ms, in which some flow brought nothing. */
  stood: number;
}

export interface Visitor {
  /** A page of someone new: a context of its own, as another person's browser would be. */
  page(options?: BrowserContextOptions & { browser?: Browser }): Promise<Page>;
  /** Someone new in the meeting. */
  enter(key: string, name: string, options?: BrowserContextOptions & { browser?: Browser }): Promise<Page>;
}

export const test = plain.extend<
  { visitor: Visitor },
  { server: Server; chromium: Browser; browsers: Browser[] }
>({
  server: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the pattern to know what a fixture needs
    async ({}, use) => {
      const server = await startServer({ SIGNALD_TRUSTED_PROXIES: "127.0.0.1/32,::1/128" });
      await use(server);
      await server.stop();
    },
    { scope: "worker" },
  ],

  chromium: [
    // biome-ignore lint/correctness/noEmptyPattern: as above
    async ({}, use) => {
      const browser = await launch({ devices: true, permission: true });
      await use(browser);
      await browser.close();
    },
    { scope: "worker" },
  ],

  /** Three that share nothing. */
  browsers: [
    // biome-ignore lint/correctness/noEmptyPattern: as above
    async ({}, use) => {
      const browsers = await Promise.all([1, 2, 3].map(() => launch({ devices: true, permission: true })));
      await use(browsers);
      await Promise.all(browsers.map((browser) => browser.close()));
    },
    { scope: "worker" },
  ],

  /** After every test: no page broke the content security policy or threw. */
  visitor: async ({ server, chromium }, use) => {
    const contexts: BrowserContext[] = [];
    const pages: Page[] = [];
    const errors: string[] = [];

    async function page(options: BrowserContextOptions & { browser?: Browser } = {}): Promise<Page> {
      const { browser = chromium, ...rest } = options;
      const context = await browser.newContext({
        locale: "en-GB",
        baseURL: server.url,
        viewport: { width: 800, height: 600 },
        ...rest,
      });
      contexts.push(context);
      await context.addInitScript(prepare);
      const page = await context.newPage();
      page.on("pageerror", (error) => errors.push(String(error)));
      pages.push(page);
      return page;
    }

    await use({
      page,
      async enter(key, name, options) {
        const visitor = await page(options);
        await join(visitor, key, name);
        return visitor;
      },
    });

    for (const page of pages.filter((page) => !page.isClosed())) {
      errors.push(...(await page.evaluate(() => window.violations)));
    }
    await Promise.all(contexts.map((context) => context.close()));
    expect(errors).toEqual([]);
  },
});

/** Runs in each page before its own code. */
function prepare(): void {
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) => {
    window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
  });
  // Two cores encode and decode for everyone: keep the pictures small.
  const devices = navigator.mediaDevices;
  const original = devices?.getUserMedia.bind(devices);
  if (!original) return;
  devices.getUserMedia = (wanted) =>
    original({ ...wanted, ...(wanted?.video ? { video: { width: 160, height: 120, frameRate: 5 } } : {}) });
}

/** From the next load on, devices are asked for and do not come until what is returned is called. */
export async function holdDevices(page: Page): Promise<() => Promise<unknown>> {
  await page.addInitScript(() => {
    const { mediaDevices } = navigator;
    const ask = mediaDevices.getUserMedia.bind(mediaDevices);
    const allowed = new Promise((resolve) => addEventListener("allow", resolve));
    mediaDevices.getUserMedia = (wanted) => allowed.then(() => ask(wanted));
  });
  return () => page.evaluate(() => dispatchEvent(new Event("allow")));
}

/** With whatever devices there are. */
export async function join(page: Page, key: string, name: string): Promise<void> {
  await page.goto(`/m/${encodeURIComponent(key)}`);
  await expect(page.getByTestId("preview")).toHaveAttribute("aria-busy", "false");
  await page.getByTestId("name").fill(name);
  await page.getByTestId("join").click();
  await expect(page.getByTestId("meeting")).toHaveAttribute("data-status", "joined");
}

/** The tiles of the others, by the name on them if one is given. */
export function others(page: Page, name?: string): Locator {
  const tiles = page.locator('[data-testid="tile"][data-self="false"]');
  return name === undefined ? tiles : tiles.filter({ has: page.getByText(name, { exact: true }) });
}

/** Everyone sees everyone else, connected. */
export async function expectMesh(pages: Page[]): Promise<void> {
  for (const page of pages) {
    await expect(page.locator('[data-self="false"][data-kind="camera"][data-state="connected"]')).toHaveCount(
      pages.length - 1,
      { timeout: 15_000 },
    );
  }
}

/** A page of whichever tool drives its browser. */
export type Evaluates = { evaluate<T>(work: () => Promise<T>): Promise<T> };

/** Bytes received so far, one number for each remote participant and kind of media. */
export function received(page: Evaluates): Promise<Record<string, number>> {
  return page.evaluate(async () => {
    const counts: Record<string, number> = {};
    for (const [peerId, peer] of window.signald?.mesh.peers() ?? []) {
      for (const kind of ["audio", "video"]) counts[`${peerId} ${kind}`] = 0;
      for (const report of (await peer.connection().getStats()).values()) {
        if (report.type !== "inbound-rtp") continue;
        counts[`${peerId} ${report.kind}`] = (counts[`${peerId} ${report.kind}`] ?? 0) + report.bytesReceived;
      }
    }
    return counts;
  });
}

/** Has the page look again and again at its tiles, its peers and the bytes of their media. */
export async function observe(page: Page): Promise<void> {
  await page.evaluate(() => {
    const seen: Observed = { looks: 0, mostTiles: 0, fewestTiles: 99, peers: [], fell: [], stood: 0 };
    window.observed = seen;
    const flows = new Map<string, { bytes: number; at: number }>();
    async function look() {
      const tiles = document.querySelectorAll('[data-testid="tile"][data-self="false"]').length;
      seen.looks++;
      seen.mostTiles = Math.max(seen.mostTiles, tiles);
      seen.fewestTiles = Math.min(seen.fewestTiles, tiles);
      for (const [peerId, peer] of window.signald?.mesh.peers() ?? []) {
        if (!seen.peers.includes(peerId)) seen.peers.push(peerId);
        for (const report of (await peer.connection().getStats()).values()) {
          if (report.type !== "inbound-rtp") continue;
          const flow = `${peerId} ${report.id}`;
          const bytes: number = report.bytesReceived;
          const now = performance.now();
          const last = flows.get(flow);
          if (last && bytes < last.bytes) seen.fell.push(flow);
          if (last) seen.stood = Math.max(seen.stood, now - last.at);
          if (!last || bytes > last.bytes) flows.set(flow, { bytes, at: now });
        }
      }
      setTimeout(look, 100);
    }
    void look();
  });
}

/** From now on, audio and video of every other participant arrive. */
export async function expectMediaRising(page: Evaluates, participants: number): Promise<void> {
  const before = await received(page);
  expect(Object.keys(before).length).toBe(2 * (participants - 1));
  await expect
    .poll(async () => {
      const now = await received(page);
      return Object.keys(before).filter((flow) => (now[flow] ?? 0) <= (before[flow] ?? 0));
    })
    .toEqual([]);
}

export { expect };
