// The page of a trace, in a browser: node page.mjs browser PAGE RECORDS COMMANDS
import { chromium } from "playwright-core";
import { execFileSync } from "node:child_process";
import { pathToFileURL } from "node:url";

const [mode, page_, records, commands] = process.argv.slice(2);
const OPEN_MS = 2000;
function check(what, yes, seen) {
  if (!yes) throw new Error(`${what}: ${JSON.stringify(seen)}`);
  console.log(what);
}

const executablePath = execFileSync("sh", ["-c", "command -v chromium || command -v chromium-browser || command -v google-chrome"]).toString().trim();
const browser = await chromium.launch({
  executablePath,
  timeout: 60000,
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  for (const colorScheme of ["light", "dark"]) {
    const page = await browser.newPage({ viewport: { width: 1300, height: 700 }, colorScheme });
    page.setDefaultTimeout(20000);
    const requests = [], said = [];
    page.on("request", (request) => requests.push(request.url()));
    page.on("console", (message) => said.push(message.text()));
    page.on("pageerror", (error) => said.push(String(error)));
    const url = pathToFileURL(page_).href;
    await page.goto(url);
    const ms = Number(await page.evaluate(() => document.documentElement.dataset.readyMs));
    check(`opens within ${OPEN_MS} ms`, ms > 0 && ms < OPEN_MS, ms);
    console.error(`${colorScheme}: ${records} records, open after ${ms} ms`);

    const about = await page.textContent("#about");
    const number = (text) => Number(text).toLocaleString("en");
    check("says how many there are", about.includes(`${number(records)} messages`) && about.includes(`${number(commands)} commands`), about);
    // The canvas has lanes: phases of several colours stand in it.
    const colours = await page.evaluate(() => {
      const canvas = document.querySelector("canvas");
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const seen = new Set();
      for (let at = 0; at < data.length; at += 4) seen.add((data[at] << 16) | (data[at + 1] << 8) | data[at + 2]);
      const style = getComputedStyle(document.documentElement);
      const known = ["running", "accent"].map((name) => style.getPropertyValue(`--${name}`).trim());
      return known.map((text) => seen.has(parseInt(text.slice(1).replace(/^(.)(.)(.)$/, "$1$1$2$2$3$3"), 16)));
    });
    check("draws lives and messages", colours.every((is) => is), colours);

    const chosen = () => page.textContent("#chosen");
    const find = async (text) => {
      await page.fill("#search", text);
      await page.waitForFunction(() => !document.querySelector("#found").hidden);
      await page.press("#search", "Enter");
      return page.textContent("#count");
    };
    check("finds nothing where nothing is", (await find("no such text")) === "0 messages found");
    const started = await find('Started');
    check("finds messages by their name", started.startsWith(`${number(commands)} messages found`), started);
    const first = await chosen();
    check("shows the first that is found", /^#\d+ Started$/.test(first), first);
    await page.press("#search", "Enter");
    const second = await chosen();
    check("and the next one", /^#\d+ Started$/.test(second) && second !== first, second);
    check("shows its fields", (await page.textContent("#fields")).includes('"process_group_id"'));

    // By order, and near enough, each message has a place of its own: nothing chosen, then a click at that place.
    await page.locator("#stage").focus();
    await page.keyboard.press("o");
    for (let times = 0; times < 30; times++) await page.keyboard.press("+");
    const third = await find("Started");
    check("finds the same by order", third === started, third);
    const wanted = await chosen();
    const box = await page.locator("#marker").boundingBox();
    await page.locator("#stage").focus();
    await page.keyboard.press("Escape");
    check("chooses nothing by Escape", (await page.locator("#chosen").count()) === 0 && await page.locator("#marker").isHidden());
    await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
    check("a click shows a message", (await chosen()) === wanted, await chosen());

    const effects = await page.locator(".effects button").allTextContents();
    check("with its effects", effects.length >= 2 && effects.some((text) => text.includes("Launched")), effects);
    await page.locator(".effects button", { hasText: "Launched" }).click();
    check("an effect can be clicked", (await chosen()).endsWith(" Launched"), await chosen());
    const causes = await page.locator(".causes button").allTextContents();
    check("with its cause", causes.length === 1 && causes[0].startsWith(`${wanted} `), causes);
    await page.locator(".causes button").click();
    check("a cause can be clicked", (await chosen()) === wanted, await chosen());
    await page.locator("#stage").focus();
    await page.keyboard.press("e");
    await page.keyboard.press("c");
    check("keys go there and back", (await chosen()) === wanted, await chosen());
    await page.keyboard.press("ArrowRight");
    check("and on in the lane", (await chosen()) !== wanted, await chosen());

    const hostile = await find("<script>window.pwned=1</script>");
    check("finds markup as text", !hostile.startsWith("0 "), hostile);
    check("shows markup as text", (await page.textContent("#fields")).includes("</script><script>window.pwned=1</script>"));
    const markup = await page.evaluate(() => [window.pwned === undefined, document.scripts.length, document.images.length]);
    check("and runs none of it", markup[0] && markup[1] === 2 && markup[2] === 0, markup);
    const blocked = await page.evaluate(async () => {
      const script = document.createElement("script");
      script.textContent = "window.pwned = 2";
      let told = false;
      document.addEventListener("securitypolicyviolation", () => { told = true; });
      document.body.append(script);
      await new Promise((done) => setTimeout(done, 0));
      return told && window.pwned === undefined;
    });
    check("its policy stops any other script", blocked);
    // What was just stopped is told by the browser.
    const others = said.filter((text) => !text.includes("Content Security Policy"));
    check("has nothing to complain of", others.length === 0 && said.length === 1, said);
    check("asks nobody for anything", requests.length === 1 && requests[0] === url, requests);
    await page.close();
  }
} finally {
  await browser.close();
}
console.log(`${mode} all`);
