import type { Page } from "@playwright/test";
import { expect, expectMediaRising, expectMesh, test } from "./fixtures.ts";
import { type Server, startServer } from "./server.ts";

/** A server with TURN inside, which may relay to loopback: there is no other network here. */
let server: Server;
test.beforeAll(async () => {
  server = await startServer({
    SIGNALD_TURN_LISTEN: "127.0.0.1:0",
    SIGNALD_TURN_PUBLIC_IP: "127.0.0.1",
    SIGNALD_TURN_PRIVATE_PEERS: "true",
  });
});
test.afterAll(() => server.stop());

/** Someone who does not want to be seen, in the meeting. */
async function hidden(page: Page, key: string, name: string): Promise<Page> {
  await page.goto(`${server.url}/m/${key}?relay`);
  await page.getByTestId("name").fill(name);
  await page.getByTestId("join").click();
  await expect(page.getByTestId("meeting")).toHaveAttribute("data-status", "joined");
  return page;
}

/** The kinds of candidates that media flows between, and all that were found here. */
function candidates(page: Page): Promise<{ used: string[]; found: string[] }> {
  return page.evaluate(async () => {
    const used: string[] = [];
    const found: string[] = [];
    for (const peer of window.signald?.mesh.peers().values() ?? []) {
      const stats = await peer.connection().getStats();
      for (const report of stats.values()) {
        if (report.type === "local-candidate") found.push(report.candidateType);
        if (report.type !== "transport" || !report.selectedCandidatePairId) continue;
        const pair = stats.get(report.selectedCandidatePairId);
        used.push(
          stats.get(pair.localCandidateId).candidateType,
          stats.get(pair.remoteCandidateId).candidateType,
        );
      }
    }
    return { used, found: [...new Set(found)] };
  });
}

test("two who hide their addresses meet through the server's own relay", async ({ visitor }) => {
  const key = await server.createMeeting();
  const ada = await hidden(await visitor.page(), key, "Ada");
  const grace = await hidden(await visitor.page(), key, "Grace");
  await expectMesh([ada, grace]);
  for (const page of [ada, grace]) {
    await expectMediaRising(page, 2);
    expect(await candidates(page)).toEqual({ used: ["relay", "relay"], found: ["relay"] });
  }
});

test("one who hides meets one who does not", async ({ visitor }) => {
  const key = await server.createMeeting();
  const ada = await hidden(await visitor.page(), key, "Ada");
  const grace = await visitor.enter(`${key}`, "Grace", { baseURL: server.url });
  await expectMesh([ada, grace]);
  await expectMediaRising(ada, 2);
  await expectMediaRising(grace, 2);
  expect((await candidates(ada)).found).toEqual(["relay"]);
});

test("the page holds no credential of the relay", async () => {
  const index = await (await fetch(`${server.url}/`)).text();
  const scripts = [...index.matchAll(/(?:src|href)="([^"]+\.(?:js|css))"/g)].map((match) => match[1] ?? "");
  expect(scripts.length).toBeGreaterThan(0);
  for (const script of scripts) {
    const text = await (await fetch(new URL(script, `${server.url}/`))).text();
    expect(text).not.toMatch(/turns?:[a-z0-9[]/i);
  }
  const response = await fetch(`${server.url}/api/v1/ice`);
  expect(response.status).toBe(401);
});
