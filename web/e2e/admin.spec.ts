import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { fileURLToPath } from "node:url";
import type { Page } from "@playwright/test";
import { violationsOf } from "./axe.ts";
import { expect, test as plain } from "./fixtures.ts";
import { startServer } from "./server.ts";

const token = "token of the browser tests";
const [london, jinan, nairobi] = ["192.0.2.1", "192.0.2.65", "198.51.100.1"];

/** A server with an admin, which knows some places and believes what we say of addresses. */
const test = plain.extend({
  server: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the pattern to know what a fixture needs
    async ({}, use) => {
      const folder = mkdtempSync(joinPath(tmpdir(), "signald-geo-"));
      const file = joinPath(folder, "places.mmdb");
      execFileSync("go", ["run", "./internal/testgeo", file], {
        cwd: fileURLToPath(new URL("../..", import.meta.url)),
      });
      const server = await startServer({
        SIGNALD_ADMIN_TOKEN: token,
        SIGNALD_AUDIT_EVENTS: "actions,logins",
        SIGNALD_GEOIP_DB: file,
        SIGNALD_TRUSTED_PROXIES: "127.0.0.1/32",
      });
      await use(server);
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
    { scope: "worker", timeout: 120_000 },
  ],
});

async function logIn(page: Page, address = "/admin"): Promise<void> {
  await page.goto(address);
  await page.getByTestId("token").fill(token);
  await page.getByTestId("login").click();
  await expect(page.getByTestId("logout")).toBeVisible();
}

const names = (page: Page) => page.getByTestId("row").locator("td:nth-child(2)");

async function expectAccessible(page: Page): Promise<void> {
  const violations = await violationsOf(page);
  expect(violations.map(({ id, nodes }) => ({ id, nodes: nodes.map((node) => node.html) }))).toEqual([]);
}

test("the admin logs in and out, and a wrong token does not", async ({ visitor }) => {
  const page = await visitor.page();
  await page.goto("/admin");
  await page.getByTestId("token").fill("a guess");
  await page.getByTestId("login").click();
  await expect(page.getByTestId("error")).toHaveAttribute("data-code", "unauthorized");
  await page.getByTestId("token").fill(token);
  await page.getByTestId("login").click();
  await expect(page.getByTestId("logout")).toBeVisible();
  expect(await page.evaluate(() => document.cookie)).toBe(""); // no script sees the session
  await page.reload();
  await expect(page.getByTestId("logout")).toBeVisible();
  await page.getByTestId("view-events").click();
  await expect(page.locator('[data-testid="event"][data-kind="login_failed"]').first()).toBeVisible();
  await page.getByTestId("logout").click();
  await expect(page.getByTestId("token")).toBeVisible();
  await page.reload();
  await expect(page.getByTestId("token")).toBeVisible();
});

test("the audit is filtered by the address, mapped, and downloaded", async ({ server, visitor }) => {
  const evil = '<img src=x onerror="window.violations.push(1)">';
  for (const name of ["Filter one", "Filter two", evil]) await server.createMeeting(name, jinan);
  await server.createMeeting("Filter far", nairobi);
  const page = await visitor.page();
  await logIn(page);
  await expect(names(page)).toContainText(["Filter far", evil, "Filter two", "Filter one"]);
  await expect(page.getByTestId("spot")).toHaveCount(2);
  await expect(page.getByTestId("bar").first()).toBeAttached();
  await expect(page.getByTestId("attribution")).toContainText("DB-IP");
  await expect(page.getByTestId("chain")).toHaveText(/^Chain intact up to row (\d+) \1:[0-9a-f]{64}$/);

  await page.getByTestId("place").filter({ hasText: "Jinan" }).click();
  await expect(names(page)).toHaveText([evil, "Filter two", "Filter one"]);
  await page.getByTestId("filter-q").fill("filter");
  await page.keyboard.press("Enter");
  await expect(names(page)).toHaveText(["Filter two", "Filter one"]);
  expect(new URL(page.url()).search).toBe("?country=CN&city=Jinan&q=filter");
  await page.reload(); // the address says it all
  await expect(names(page)).toHaveText(["Filter two", "Filter one"]);
  await expect(page.getByTestId("filter-city")).toHaveValue("Jinan");
  await expect(page.getByTestId("spot")).toHaveCount(1);

  const [file] = await Promise.all([page.waitForEvent("download"), page.getByTestId("csv").click()]);
  const text = readFileSync(await file.path(), "utf8");
  expect(text.startsWith("\ufeffcreated_at,meeting_id,name,")).toBe(true);
  expect(text.trim().split("\r\n")).toHaveLength(3);

  await page.goBack();
  await expect(names(page)).toHaveText([evil, "Filter two", "Filter one"]);
  await page.getByTestId("filter-ip").fill("nonsense");
  await page.getByTestId("filter").click();
  await expect(page.getByTestId("error")).toHaveAttribute("data-code", "invalid_payload");
  await page.getByTestId("clear").click();
  await expect(names(page)).toContainText(["Filter far"]);
  expect(new URL(page.url()).search).toBe("");
});

test("older rows come page by page, each once", async ({ server, visitor }) => {
  // Each from an address of its own: one may create 60 at once in all.
  for (let i = 0; i < 60; i++) await server.createMeeting(`Paged ${i}`, `198.51.100.${i}`);
  const page = await visitor.page();
  await logIn(page, "/admin?q=Paged");
  await expect(page.getByTestId("row")).toHaveCount(50);
  await page.getByTestId("more").click();
  await expect(page.getByTestId("row")).toHaveCount(60);
  await expect(page.getByTestId("more")).toHaveCount(0);
  expect(await names(page).allTextContents()).toEqual(
    Array.from({ length: 60 }, (_, i) => `Paged ${59 - i}`),
  );
});

test("a meeting that the admin ends is over for who is in it", async ({ server, visitor }) => {
  const key = await server.createMeeting("Ended by the admin");
  const ada = await visitor.enter(key, "Ada");
  const page = await visitor.page();
  await logIn(page, "/admin?view=live");
  const row = page.getByTestId("live").filter({ hasText: "Ended by the admin" });
  await expect(row).toContainText("n_");
  await expect(row.locator("td:nth-child(3)")).toHaveText("1");
  await row.getByTestId("end").click();
  await row.getByTestId("end-sure").click();
  await expect(page.getByTestId("said")).toContainText("Ended by the admin");
  await expect(row).toHaveCount(0);
  await expect(ada.getByTestId("over")).toBeVisible();
  await expect(ada.getByTestId("over")).toContainText("This meeting is over");
  await page.getByTestId("view-events").click();
  await expect(page.locator('[data-testid="event"][data-kind="end"]')).toContainText("admin");
});

for (const scheme of ["light", "dark"] as const) {
  test(`axe finds nothing on the admin's page, ${scheme}`, async ({ server, visitor }) => {
    test.setTimeout(150_000); // axe looks at every cell of the table, four times
    const key = await server.createMeeting("Looked at", london);
    await visitor.enter(key, "Ada");
    const page = await visitor.page({ colorScheme: scheme });
    await page.goto("/admin");
    await page.getByTestId("token").fill("a guess, for an event");
    await page.getByTestId("login").click();
    await expect(page.getByTestId("error")).toHaveAttribute("data-code", "unauthorized");
    await expectAccessible(page);
    await logIn(page);
    await expect(page.getByTestId("spot").first()).toBeVisible();
    await expectAccessible(page);
    for (const view of ["live", "events"]) {
      await page.getByTestId(`view-${view}`).click();
      await expect(page.getByTestId(view === "live" ? "live" : "event").first()).toBeVisible();
      await expectAccessible(page);
    }
  });
}

test("the admin's page fits a phone", async ({ server, visitor }) => {
  const key = await server.createMeeting(`Long ${"name of a meeting ".repeat(3)}`, jinan);
  await visitor.enter(key, "Ada");
  const page = await visitor.page({ viewport: { width: 360, height: 640 } });
  const fits = () =>
    page.evaluate(() => document.documentElement.scrollWidth <= document.documentElement.clientWidth);
  await page.goto("/admin");
  expect(await fits()).toBe(true);
  await logIn(page);
  await expect(page.getByTestId("spot").first()).toBeVisible();
  await expect(page.getByTestId("row").first()).toBeVisible();
  expect(await fits()).toBe(true);
  await page.getByTestId("view-live").click();
  await expect(page.getByTestId("live").first()).toBeVisible();
  expect(await fits()).toBe(true);
  for (const button of await page.getByTestId("end").all()) {
    expect((await button.boundingBox())?.height).toBeGreaterThanOrEqual(44);
  }
});
