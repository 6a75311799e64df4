const list = document.getElementById("ledger");
const claims = [...list.children];
const texts = new Map(claims.map((li) => [li, li.textContent.toLowerCase()]));
const chosen = { paper: "", verdict: "", kind: "" };
const words = document.getElementById("words");
const count = document.querySelector(".count");

function filter() {
  const asked = words.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const li of claims) {
    li.hidden = !(
      Object.entries(chosen).every(([key, value]) => !value || li.dataset[key] === value) &&
      asked.every((word) => texts.get(li).includes(word))
    );
    shown += !li.hidden;
  }
  count.textContent = shown === claims.length ? `${shown} claims` : `${shown} of ${claims.length} claims`;
}

function press(button, selector) {
  for (const other of document.querySelectorAll(selector)) {
    other.setAttribute("aria-pressed", String(other === button));
  }
}

for (const button of document.querySelectorAll("button[data-filter]")) {
  button.addEventListener("click", () => {
    chosen[button.dataset.filter] = button.dataset.value;
    press(button, `button[data-filter="${button.dataset.filter}"]`);
    filter();
  });
}

for (const button of document.querySelectorAll("button[data-sort]")) {
  button.addEventListener("click", () => {
    const key = button.dataset.sort;
    // The filter's buttons give the order of its values; sorting is stable, so equals stay as in the papers.
    const order = [...document.querySelectorAll(`button[data-filter="${key}"]`)].map((b) => b.dataset.value);
    const place = (li) => (key ? order.indexOf(li.dataset[key]) : 0);
    list.append(...[...claims].sort((a, b) => place(a) - place(b)));
    press(button, "button[data-sort]");
  });
}

words.addEventListener("input", filter);

// On a phone a table is a long list: only what is asked for is open.
if (matchMedia("(max-width: 40rem)").matches) {
  for (const box of document.querySelectorAll("article > details")) box.open = false;
}

// A link may lead to something folded away, or filtered out.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  if (target.hidden) {
    words.value = "";
    for (const button of document.querySelectorAll('button[data-filter][data-value=""]')) button.click();
  }
  for (let box = target; box; box = box.parentElement) if (box.tagName === "DETAILS") box.open = true;
  if (target.matches(".claims > li")) target.firstElementChild.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", reveal);
reveal();

document.querySelector(".filters").hidden = false;
