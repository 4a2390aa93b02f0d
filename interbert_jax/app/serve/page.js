"use strict";

const SAY = {
  en: {
    ask: "Which picture fits this text?", search: "Search",
    catalogue: "Catalogue", token: "Token", picture: "Score a picture of yours",
    topics: "Topics", recommend: "Recommend", add_topic: "Add a topic",
    topics_about: "A phrase, and pictures that suit it: \"+\" at a result adds " +
      "it to the last topic.",
    close: "Close", other: "中文", phrase: "a phrase", remove: "remove",
    working: "Working …", none: "Nothing found.", examples: "Examples",
    found: (n, s) => `${n} pictures in ${s} s. Choose one to see why.`,
    about: (x) => `${x.model}, step ${x.step.toLocaleString()}`,
    importance: "Regions: by how much the score falls without each.",
    words: "Words: by how much it falls with [MASK] for each.",
    attention: "How much words (rows) look at regions (columns), in percent: " +
      "mean of all interaction layers and heads.",
    add: "use as an example", open: "explain",
  },
  zh: {
    ask: "哪张图片符合这段文字？", search: "搜索",
    catalogue: "图库", token: "令牌", picture: "给你的图片打分",
    topics: "主题", recommend: "推荐", add_topic: "添加主题",
    topics_about: "一个短语，以及合适的图片：点结果旁的“+”把它加入最后一个主题。",
    close: "关闭", other: "English", phrase: "短语", remove: "移除",
    working: "正在计算……", none: "没有结果。", examples: "示例",
    found: (n, s) => `${n} 张图片，用时 ${s} 秒。选一张查看原因。`,
    about: (x) => `${x.model}，第 ${x.step.toLocaleString()} 步`,
    importance: "区域：去掉该区域后分数下降多少。",
    words: "词：用 [MASK] 替换后分数下降多少。",
    attention: "词（行）对区域（列）的注意力，百分比：所有交互层和头的平均。",
    add: "用作示例", open: "解释",
  },
};
const SVG = "http://www.w3.org/2000/svg";
const at = (id) => document.getElementById(id);
let language = navigator.language.startsWith("zh") ? "zh" : "en";
let known = { catalogues: [], model: "", step: 0 };
let turn = 0; // an older search stops when a newer one begins
let topics = [{ text: "", examples: [] }];
const pictures = new Map(); // id -> URL of a picture, or null

const say = (key) => SAY[language][key];

function make(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(options)) {
    if (key === "on") node.addEventListener("click", value);
    else if (key in node) node[key] = value;
    else node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

function draw(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) {
    node.setAttribute(key, value);
  }
  return node;
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  if (at("token").value) headers.Authorization = `Bearer ${at("token").value}`;
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) at("secret").hidden = false;
  if (!answer.ok) {
    const body = await answer.json().catch(() => ({}));
    throw new Error(body.error?.message ?? `${answer.status}`);
  }
  return answer;
}

async function post(path, body) {
  const answer = await ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ catalogue: at("catalogue").value, ...body }),
  });
  return answer.json();
}

function status(text, wrong = false) {
  at("status").textContent = text;
  at("status").className = wrong ? "wrong" : "";
}

// Tells what goes wrong instead of leaving it to the console.
const guarded = (work) => async (...x) => {
  try {
    await work(...x);
  } catch (problem) {
    status(problem.message, true);
  }
};

async function pictureOf(id) {
  const key = `${at("catalogue").value}\n${id}`;
  if (!pictures.has(key)) {
    const query = new URLSearchParams({
      image_id: id, catalogue: at("catalogue").value,
    });
    const chosen = known.catalogues.find(
      (x) => x.name === at("catalogue").value);
    let url = null;
    if (chosen?.pictures && !id.startsWith("sent-")) {
      try {
        url = URL.createObjectURL(await (await ask(`/v1/picture?${query}`)).blob());
      } catch { /* a picture may be missing: regions are drawn all the same */ }
    }
    pictures.set(key, url);
  }
  return pictures.get(key);
}

// The picture, or grey, with boxes [x1, y1, x2, y2] on it.
function image(id, width, height, url, label) {
  const svg = draw("svg", {
    viewBox: `0 0 ${width} ${height}`, class: "image", role: "img",
    "aria-label": label,
  });
  svg.append(url
    ? draw("image", { href: url, width, height, preserveAspectRatio: "none" })
    : draw("rect", { width, height, class: "none" }));
  return svg;
}

function boxes(svg, explained, count) {
  svg.setAttribute("viewBox", `0 0 ${explained.width} ${explained.height}`);
  for (const child of svg.children) {
    child.setAttribute("width", explained.width);
    child.setAttribute("height", explained.height);
  }
  const most = Math.max(...explained.importance.map(Math.abs), 1e-9);
  const order = explained.importance.map((_, n) => n)
    .sort((a, b) => explained.importance[b] - explained.importance[a]);
  for (const n of order.slice(0, count).reverse()) {
    const share = explained.importance[n] / most;
    if (share <= 0) continue;
    const [x1, y1, x2, y2] = explained.boxes[n];
    const box = draw("rect", {
      x: x1, y: y1, width: x2 - x1, height: y2 - y1, class: "box",
      "stroke-width": 1 + 3 * share, "stroke-opacity": .35 + .65 * share,
    });
    const title = draw("title", {});
    title.textContent = `${explained.importance[n].toFixed(2)}`;
    box.append(title);
    svg.append(box);
  }
}

async function card(found, text) {
  const url = await pictureOf(found.image_id);
  const svg = image(found.image_id, 4, 3, url, found.image_id);
  if (url) {
    const size = new Image();
    size.src = url;
    await size.decode().catch(() => {});
    boxes(svg, {
      width: size.naturalWidth || 4, height: size.naturalHeight || 3,
      importance: [], boxes: [],
    }, 0);
  }
  const open = make("button", {
    type: "button", className: "open", "aria-label": `${say("open")} ${found.image_id}`,
    on: guarded(() => show(found.image_id, text)),
  });
  open.append(svg);
  const figure = make("figure", {}, open, make("figcaption", {},
    make("code", { textContent: found.image_id }),
    make("span", { textContent: found.score.toFixed(2) }),
    make("button", {
      type: "button", textContent: "+", title: say("add"),
      "aria-label": `${say("add")}: ${found.image_id}`,
      on: () => {
        const last = topics[topics.length - 1];
        if (!last.examples.includes(found.image_id)) {
          last.examples.push(found.image_id);
        }
        showTopics();
      },
    })));
  figure.svg = svg;
  return figure;
}

const search = guarded(async () => {
  const mine = ++turn;
  const text = at("text").value.trim();
  if (!text) return;
  status(say("working"));
  const began = performance.now();
  const { results } = await post("/v1/search", { text, top: 12 });
  if (mine !== turn) return;
  const seconds = ((performance.now() - began) / 1000).toFixed(2);
  status(results.length ? say("found")(results.length, seconds) : say("none"));
  const cards = await Promise.all(results.map((x) => card(x, text)));
  if (mine !== turn) return;
  at("results").replaceChildren(...cards);
  for (let n = 0; n < results.length; n++) { // the regions that matter
    const explained = await post("/v1/explain",
      { text, image_id: results[n].image_id });
    if (mine !== turn) return;
    boxes(cards[n].svg, explained, 3);
  }
});

function shade(node, value, most) {
  const share = Math.min(Math.abs(value) / most, 1);
  const color = value >= 0 ? "213, 94, 0" : "0, 114, 178";
  node.style.backgroundColor = `rgba(${color}, ${(share * .6).toFixed(3)})`;
}

async function show(id, text) {
  const [explained, url] = await Promise.all([
    post("/v1/explain", { text, image_id: id }), pictureOf(id)]);
  at("detail-title").textContent =
    `${id}: ${explained.score.toFixed(2)} — ${text}`;
  const svg = image(id, explained.width, explained.height, url, id);
  boxes(svg, explained, explained.boxes.length);
  explained.boxes.forEach(([x1, y1], n) => {
    const number = draw("text", {
      x: x1 + 2, y: y1 + explained.height / 16, "font-size": explained.height / 16,
      stroke: "#fff", "stroke-width": explained.height / 160, fill: "#b34700",
      "paint-order": "stroke",
    });
    number.textContent = n + 1;
    svg.append(number);
  });
  const most = Math.max(...explained.word_importance.map(Math.abs), 1e-9);
  const words = explained.tokens.map((token, n) => {
    const node = make("span", { className: "word", textContent: token,
      title: explained.word_importance[n].toFixed(3) });
    shade(node, explained.word_importance[n], most);
    return node;
  });
  const body = [make("p", { className: "small", textContent: say("importance") }),
    svg, make("p", { className: "small", textContent: say("words") }),
    make("div", { className: "words" }, ...words)];
  if (explained.attention.length) {
    const rows = [make("tr", {}, make("th"), ...explained.boxes.map((_, n) =>
      make("th", { textContent: `${n + 1}` })))];
    const top = Math.max(...explained.attention.flat(), 1e-9);
    explained.attention.forEach((row, n) => rows.push(make("tr", {},
      make("th", { textContent: explained.tokens[n] }), ...row.map((value) => {
        const cell = make("td", { textContent: (100 * value).toFixed(1) });
        shade(cell, value, top);
        return cell;
      }))));
    body.push(make("p", { className: "small", textContent: say("attention") }),
      make("div", { className: "scroll", tabIndex: 0 },
        make("table", {}, ...rows)));
  }
  at("detail-body").replaceChildren(...body);
  if (!at("detail").open) at("detail").showModal();
}

function showTopics() {
  at("topics").replaceChildren(...topics.map((topic, n) => {
    const text = make("input", {
      type: "text", value: topic.text, placeholder: say("phrase"),
      "aria-label": say("phrase"),
    });
    text.addEventListener("input", () => { topic.text = text.value; });
    const row = make("div", { className: "row" }, text, make("button", {
      type: "button", textContent: say("remove"),
      on: () => {
        topics.splice(n, 1);
        if (!topics.length) topics.push({ text: "", examples: [] });
        showTopics();
      },
    }));
    const chips = topic.examples.map((id) => make("button", {
      type: "button", className: "chip", textContent: `${id} ×`,
      title: say("remove"), "aria-label": `${say("remove")} ${id}`,
      on: () => {
        topic.examples = topic.examples.filter((x) => x !== id);
        showTopics();
      },
    }));
    return make("div", { className: "topic" }, row, make("div",
      { className: "row" }, make("span", {
        className: "small", textContent: `${say("examples")}:`,
      }), ...chips));
  }));
}

const recommend = guarded(async () => {
  const asked = topics.filter((topic) => topic.text.trim());
  if (!asked.length) return;
  status(say("working"));
  const { results } = await post("/v1/recommend", { topics: asked, top: 8 });
  const parts = [];
  for (const [n, ranked] of results.entries()) {
    const cards = await Promise.all(ranked.map((x) => card(x, asked[n].text)));
    parts.push(make("h2", { textContent: asked[n].text }),
      make("div", { className: "grid" }, ...cards));
  }
  at("ranked").replaceChildren(...parts);
  status("");
});

const sendPicture = guarded(async () => {
  const [file] = at("picture").files;
  const text = at("text").value.trim();
  if (!file || !text) return;
  status(say("working"));
  const form = new FormData();
  form.append("picture", file);
  const answer = await ask("/v1/pictures", { method: "POST", body: form });
  const { image_id: id } = await answer.json();
  pictures.set(`${at("catalogue").value}\n${id}`, URL.createObjectURL(file));
  await show(id, text);
  status("");
});

function speak() {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-say]")) {
    node.textContent = say(node.dataset.say);
  }
  at("language").textContent = say("other");
  at("about").textContent = known.model ? say("about")(known) : "";
  showTopics();
}

const begin = guarded(async () => {
  known = await (await ask("/v1/catalogues")).json();
  at("catalogue").replaceChildren(...known.catalogues.map((x) =>
    make("option", { value: x.name, textContent: `${x.name} (${x.images})` })));
  at("choose").hidden = known.catalogues.length < 2;
  at("send").hidden = !known.send;
  if (known.language === "zh") language = "zh";
  status("");
  speak();
});

at("search").addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
at("add").addEventListener("click", () => {
  topics.push({ text: "", examples: [] });
  showTopics();
});
at("recommend").addEventListener("click", recommend);
at("picture").addEventListener("change", sendPicture);
at("token").addEventListener("change", begin);
at("language").addEventListener("click", () => {
  language = language === "en" ? "zh" : "en";
  speak();
});
speak();
begin();
