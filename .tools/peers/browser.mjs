// Makes calls in a headless browser: node browser.mjs CHROMIUM CALLS, where CALLS
// is a JSON array of {page, url, method, headers, body}, the body in base64.
// Prints for each what the page can see of the answer.
import { chromium } from 'playwright-core';

const browser = await chromium.launch({ executablePath: process.argv[2], args: ['--no-sandbox'] });
const answers = [];
for (const call of JSON.parse(process.argv[3])) {
  const page = await browser.newPage();
  await page.goto(call.page);
  answers.push(await page.evaluate(async ({ url, method, headers, body }) => {
    try {
      const bytes = body ? Uint8Array.from(atob(body), (c) => c.charCodeAt(0)) : undefined;
      const answer = await fetch(url, { method, headers, body: bytes });
      const got = new Uint8Array(await answer.arrayBuffer());
      return {
        status: answer.status, headers: Object.fromEntries(answer.headers), body: btoa(String.fromCharCode(...got)), origin: location.origin,
      };
    } catch (error) {
      return { error: String(error), origin: location.origin };
    }
  }, call));
  await page.close();
}
await browser.close();
console.log(JSON.stringify(answers));
