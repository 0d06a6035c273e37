import type { BrowserContextOptions, Page } from "@playwright/test";
import { violationsOf } from "./axe.ts";
import { expect, expectMediaRising, expectMesh, others, test, type Visitor } from "./fixtures.ts";
import type { Server } from "./server.ts";

const patient = { timeout: 30_000 };
test.describe.configure({ timeout: 90_000 }); // three people, on a machine that may be busy

declare global {
  interface Window {
    tones: number;
    noted: string[];
  }
}

/**
 * A page of who is signed in, at the start or elsewhere. It counts what it plays, and holds sound back before the
 * first press, as browsers do to their users, but not to Playwright.
 */
async function signedIn(
  { visitor, server }: { visitor: Visitor; server: Server },
  [sub, name]: [string, string],
  { at = "/", ...options }: BrowserContextOptions & { at?: string } = {},
): Promise<Page> {
  const page = await visitor.page(options);
  await page.addInitScript(() => {
    window.tones = 0;
    const start = AudioScheduledSourceNode.prototype.start;
    AudioScheduledSourceNode.prototype.start = function (...when) {
      if (this instanceof OscillatorNode) window.tones++;
      return start.apply(this, when);
    };
    let pressed = false;
    for (const name of ["pointerdown", "keydown"]) addEventListener(name, () => (pressed = true), true);
    Object.defineProperty(AudioContext.prototype, "state", {
      get: () => (pressed ? "running" : "suspended"),
    });
  });
  await page.goto(`${at}#token=${server.token(sub, name)}`);
  return page;
}

/** Who rings, in a meeting, with what there is to ring. */
async function caller(house: { visitor: Visitor; server: Server }): Promise<Page> {
  const key = await house.server.createMeeting();
  const ada = await signedIn(house, ["u-ada", "Ada"], { at: `/m/${key}` });
  await expect(ada.getByTestId("name")).toHaveValue("Ada");
  await ada.getByTestId("join").click();
  await ada.getByTestId("open-people").click();
  await ada.getByTestId("ring-someone").locator("summary").click();
  return ada;
}

async function ring(ada: Page, sub: string): Promise<void> {
  await ada.getByTestId("ring-sub").fill(sub);
  await ada.keyboard.press("Enter");
}

const rung = (ada: Page, sub: string) => ada.getByTestId("rung").filter({ hasText: sub });

async function expectAccessible(page: Page, part: string): Promise<void> {
  const violations = await violationsOf(page, part);
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html).join(" | ")}`)).toEqual(
    [],
  );
}

test("who is rung and accepts is in the meeting: both see and hear each other", async ({
  server,
  visitor,
}) => {
  const house = { server, visitor };
  const ada = await caller(house);
  const grace = await signedIn(house, ["u-grace", "Grace"], { viewport: { width: 390, height: 844 } });
  await expect(grace.getByTestId("signed-in")).toContainText("Signed in as Grace (u-grace)");
  expect(grace.url()).not.toContain("token");
  await expectAccessible(grace, ".signed-in");
  await grace.getByTestId("key").focus();
  await ring(ada, "u-grace");
  const dialog = grace.getByRole("alertdialog", { name: "Ada calls you" });
  await expect(dialog).toBeFocused();
  for (const title of ["Ada calls you", "signald"]) {
    await expect.poll(() => grace.title(), { intervals: [100] }).toBe(title);
  }
  // Nothing was pressed yet: no sound.
  expect(await grace.evaluate(() => window.tones)).toBe(0);
  await grace.keyboard.press("Enter"); // who was just typing answers nothing
  await grace.keyboard.press("Space");
  await expect(dialog).toBeVisible();
  await expect.poll(() => grace.evaluate(() => window.tones)).toBeGreaterThan(0); // a key was pressed
  for (const colorScheme of ["light", "dark"] as const) {
    await grace.emulateMedia({ colorScheme });
    await expectAccessible(grace, ".ring");
  }
  await expectAccessible(ada, ".panel");
  await expect(rung(ada, "u-grace")).toHaveAttribute("data-state", "ringing");
  await grace.keyboard.press("Tab");
  await expect(grace.getByTestId("decline")).toBeFocused();
  await grace.keyboard.press("Tab");
  await grace.keyboard.press("Enter");
  await expectMesh([ada, grace]);
  await expect(rung(ada, "u-grace")).toHaveAttribute("data-state", "accepted");
  await expect(ada.getByTestId("notices")).toContainText("u-grace has accepted");
  await expect(others(ada, "Grace")).toBeVisible();
  for (const page of [ada, grace]) await expectMediaRising(page, 2);
  await grace.reload(); // the tab keeps who it is
  await expectMesh([ada, grace]);
  await ring(ada, "u-grace");
  await expect(rung(ada, "u-grace")).toHaveAttribute("data-state", "busy");
});

test("all devices ring, and stop when one has answered or the caller hangs up", async ({
  server,
  visitor,
}) => {
  const house = { server, visitor };
  const ada = await caller(house);
  const desk = await signedIn(house, ["u-grace", "Grace"]);
  const phone = await signedIn(house, ["u-grace", "Grace"], {
    locale: "zh-CN",
    viewport: { width: 360, height: 640 },
  });
  const ringing = (on: boolean) =>
    Promise.all(
      [desk, phone].map((page) => expect(page.getByTestId("ring")).toHaveCount(on ? 1 : 0, patient)),
    );
  await desk.getByRole("heading", { level: 1 }).click();
  for (const page of [desk, phone]) await expect(page.getByTestId("signed-in")).toContainText("u-grace");

  await ring(ada, "u-grace");
  await ringing(true);
  await expect.poll(() => desk.evaluate(() => window.tones)).toBeGreaterThan(0);
  await expect(phone.getByTestId("ring")).toContainText("Ada 呼叫您");
  expect(await phone.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true);
  await desk.keyboard.press("Escape");
  await ringing(false);
  await expect(rung(ada, "u-grace")).toHaveAttribute("data-state", "rejected");
  await expect(ada.getByTestId("notices")).toContainText("u-grace has declined");
  await expect(phone.getByTestId("notices")).toContainText("您已在另一台设备上拒绝");

  await ring(ada, "u-grace");
  await ringing(true);
  await rung(ada, "u-grace").getByTestId("ring-cancel").click();
  await ringing(false);
  await expect(rung(ada, "u-grace")).toHaveAttribute("data-state", "cancelled");
  await expect(desk.getByTestId("notices")).toContainText("Ada has hung up");

  await ring(ada, "u-grace");
  await ringing(true);
  await ada.getByTestId("leave").click(); // as does who leaves
  await ringing(false);

  await ada.getByTestId("rejoin").click();
  await ada.getByTestId("join").click();
  await ada.getByTestId("open-people").click();
  await ada.getByTestId("ring-someone").locator("summary").click();
  await expect(ada.locator("#rung-before option")).toHaveAttribute("value", "u-grace");
  await ring(ada, "u-grace");
  await ringing(true);
  await phone.getByTestId("accept").click();
  await ringing(false);
  await expect(desk.getByTestId("notices")).toContainText("accepted on another device");
  await expectMesh([ada, phone]);
});

test("whom nothing can reach is named, and who is not signed in rings nobody", async ({
  server,
  visitor,
}) => {
  const ada = await caller({ server, visitor });
  await ring(ada, "u-ada");
  await expect(ada.getByTestId("ring-someone")).toContainText("That is you");
  await ring(ada, "u-nobody");
  await expect(rung(ada, "u-nobody")).toContainText("has no page open");
  await expect(ada.getByTestId("rename")).toHaveCount(0); // called what the application says
  const key = (await ada.url()).split("/m/")[1] ?? "";
  const guest = await visitor.enter(key, "Guest");
  await guest.getByTestId("open-people").click();
  await expect(guest.getByTestId("people-panel")).toBeVisible();
  await expect(guest.getByTestId("ring-someone")).toHaveCount(0);
  const forged = await visitor.page();
  await forged.goto(`/#token=${server.token("u-eve").replace(/.{9}$/, "AAAAAAAAA")}`);
  await expect(forged.getByTestId("signed-in")).toContainText("not valid any more");
  await forged.getByTestId("sign-out").click();
  await expect(forged.getByTestId("signed-in")).toHaveCount(0);
  await forged.reload();
  await expect(forged.getByTestId("create")).toBeVisible();
  await expect(forged.getByTestId("signed-in")).toHaveCount(0);
});

test("a link of somebody else signs nobody in unasked", async ({ server, visitor }) => {
  const page = await visitor.page();
  await page.goto(`/#token=${server.token("u-ada", "Ada")}`);
  await expect(page.getByTestId("signed-in")).toContainText("Signed in as Ada (u-ada)");
  await page.goto("/#token=nonsense");
  await expect(page.getByTestId("signed-in")).toContainText("Signed in as Ada (u-ada)");
  const eve = `/#token=${server.token("u-eve", "Eve")}`;
  await page.goto(eve);
  await expect(page.getByTestId("other-self")).toContainText("This link signs you in as Eve (u-eve)");
  await page.keyboard.press("Escape");
  await expect(page.getByTestId("other-self")).toHaveCount(0);
  await expect(page.getByTestId("signed-in")).toContainText("Signed in as Ada (u-ada)");
  expect(page.url()).not.toContain("token");
  await page.goto(eve);
  await page.getByTestId("become-other").click();
  await expect(page.getByTestId("signed-in")).toContainText("Signed in as Eve (u-eve)");
  await page.reload();
  await expect(page.getByTestId("signed-in")).toContainText("Signed in as Eve (u-eve)");
});

test("a hidden page that may notify does so", async ({ server, visitor }) => {
  const house = { server, visitor };
  const ada = await caller(house);
  const grace = await visitor.page();
  await grace.addInitScript(() => {
    window.noted = [];
    Object.defineProperty(document, "hidden", { get: () => true });
    class Notification {
      static permission = "granted";
      onclick = null;
      constructor(readonly text: string) {
        window.noted.push(text);
      }
      close() {
        window.noted.push("closed");
      }
    }
    Object.assign(window, { Notification });
  });
  await grace.goto(`/#token=${server.token("u-grace")}`);
  await expect(grace.getByTestId("signed-in")).toContainText("Signed in as u-grace:");
  await ring(ada, "u-grace");
  await expect(grace.getByTestId("ring")).toBeVisible();
  expect(await grace.evaluate(() => window.noted)).toEqual(["Ada calls you"]);
  await grace.getByTestId("decline").click();
  await expect(grace.getByTestId("ring")).toHaveCount(0);
  expect(await grace.evaluate(() => window.noted)).toEqual(["Ada calls you", "closed"]);
});
