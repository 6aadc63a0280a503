// "Save as SVG, PNG, CSV" and "Copy as slide": a figure as it stands here, caption included, in colours and letters of
// its own. Everything becomes plain shapes and lines of text, which any program that draws can read, rather than HTML
// inside of SVG.
{
  const MARGIN = 24, SCALE = 2, SLIDE = {width: 1920, height: 1080};
  const SVG = document.createRange().createContextualFragment("<svg></svg>").firstChild.namespaceURI;
  const KEPT = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "paint-order",
    "font-family", "font-size", "font-weight", "letter-spacing", "text-anchor"];
  const pen = document.createElement("canvas").getContext("2d");
  const escaped = (text) => text.replace(/[&<>"]/g, (one) => `&#${one.charCodeAt(0)};`);
  const attributes = (values) => Object.entries(values).map(([name, value]) => ` ${name}="${escaped(String(value))}"`).join("");

  // The lines that the browser broke a text into, each with its place.
  const lines = (node) => {
    const found = [], range = document.createRange();
    for (let at = 0; at < node.length; at++) {
      range.setStart(node, at);
      range.setEnd(node, at + 1);
      const box = range.getClientRects()[0];
      if (!box) continue;
      const last = found.at(-1);
      if (last && Math.abs(last.top - box.top) < 2) last.text += node.data[at];
      else if (node.data[at].trim()) found.push({left: box.left, top: box.top, text: node.data[at]});
    }
    return found;
  };

  const words = (node, x, y) => {
    const style = getComputedStyle(node.parentElement);
    pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    const ascent = pen.measureText("x").fontBoundingBoxAscent;
    return lines(node).map(({left, top, text}) => {
      const shown = text.trimEnd().replace(/\s/g, " ");
      const look = {
        x: (left - x).toFixed(1), y: (top - y + ascent).toFixed(1), fill: style.color, "font-family": style.fontFamily,
        "font-size": style.fontSize, "font-weight": style.fontWeight, "letter-spacing": style.letterSpacing,
        style: `text-decoration: ${style.textDecorationLine} ${style.textDecorationStyle}`,
      };
      return `<text${attributes(look)}>${escaped(style.textTransform === "uppercase" ? shown.toUpperCase() : shown)}</text>`;
    }).join("");
  };

  const sides = (style, box) => {
    const ends = {
      Top: [0, 0, box.width, 0], Bottom: [0, box.height, box.width, box.height],
      Left: [0, 0, 0, box.height], Right: [box.width, 0, box.width, box.height],
    };
    return Object.entries(ends).map(([side, [x1, y1, x2, y2]]) => {
      const width = parseFloat(style[`border${side}Width`]);
      if (!width) return "";
      const dashes = style[`border${side}Style`] === "dashed" ? {"stroke-dasharray": "3 3"} : {};
      return `<line${attributes({x1, y1, x2, y2, stroke: style[`border${side}Color`], "stroke-width": width, ...dashes})}/>`;
    }).join("");
  };

  const ground = (element, x, y) => {
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    const clear = style.backgroundColor === "rgba(0, 0, 0, 0)", bare = !parseFloat(style.borderLeftWidth) &&
      !parseFloat(style.borderTopWidth) && !parseFloat(style.borderBottomWidth);
    if (clear && bare) return "";
    const round = Math.min(parseFloat(style.borderRadius) * (style.borderRadius.endsWith("%") ? box.width / 100 : 1), box.width / 2);
    const whole = round && parseFloat(style.borderTopWidth)
      ? {stroke: style.borderTopColor, "stroke-width": style.borderTopWidth} : {};
    const area = {width: box.width, height: box.height, rx: round || 0, fill: clear ? "none" : style.backgroundColor, ...whole};
    const edges = round ? "" : sides(style, box);
    return `<g transform="translate(${(box.left - x).toFixed(1)} ${(box.top - y).toFixed(1)})"><rect${attributes(area)}/>${edges}</g>`;
  };

  // A picture that is stretched to its box has lines that keep their width: its points become those of the page.
  const flattened = (copy, box) => {
    const [, , width, height] = copy.getAttribute("viewBox").split(" ").map(Number);
    const across = box.width / width, down = box.height / height;
    const along = {x: across, x1: across, x2: across, width: across, y: down, y1: down, y2: down, height: down};
    for (const shape of copy.querySelectorAll("line, rect")) {
      for (const [name, scale] of Object.entries(along)) {
        if (shape.hasAttribute(name)) shape.setAttribute(name, (shape.getAttribute(name) * scale).toFixed(2));
      }
    }
    for (const shape of copy.querySelectorAll("polyline")) {
      const points = shape.getAttribute("points").split(" ").map((point) => point.split(","));
      shape.setAttribute("points", points.map(([x, y]) => `${(x * across).toFixed(1)},${(y * down).toFixed(1)}`).join(" "));
    }
    copy.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
  };

  // A picture within the figure, its looks written beside each shape.
  const inner = (svg, x, y) => {
    const copy = svg.cloneNode(true), box = svg.getBoundingClientRect();
    const from = svg.querySelectorAll("*"), to = copy.querySelectorAll("*");
    from.forEach((shape, number) => {
      const style = getComputedStyle(shape);
      for (const name of KEPT) to[number].setAttribute(name, style.getPropertyValue(name));
      to[number].removeAttribute("class");
    });
    copy.querySelectorAll("title, desc").forEach((node) => node.remove());
    if (copy.getAttribute("preserveAspectRatio") === "none") flattened(copy, box);
    for (const name of [...copy.attributes].map((one) => one.name)) if (name !== "viewBox") copy.removeAttribute(name);
    const place = {x: box.left - x, y: box.top - y, width: box.width, height: box.height, overflow: "visible"};
    for (const [name, value] of Object.entries(place)) copy.setAttribute(name, value);
    return new XMLSerializer().serializeToString(copy);
  };

  // without: what is left out, besides the buttons
  const walk = (node, x, y, without) => {
    if (node.nodeType === Node.TEXT_NODE) return words(node, x, y);
    if (node.nodeType !== Node.ELEMENT_NODE || node.matches(without)) return "";
    const style = getComputedStyle(node);
    if (style.display === "none" || style.visibility === "hidden") return "";
    if (node.localName === "svg") return inner(node, x, y);
    return ground(node, x, y) + [...node.childNodes].map((child) => walk(child, x, y, without)).join("");
  };

  const paper = () => {
    const page = document.documentElement.classList.contains("dark") ? document.documentElement : document.body;
    return getComputedStyle(page);
  };

  // The shapes of a figure in a box of their own, with the size of it.
  const shapes = (figure, without) => {
    const box = figure.getBoundingClientRect();
    const last = Math.max(box.top, ...[...figure.children].filter((one) => !one.matches(without))
      .map((one) => one.getBoundingClientRect().bottom));
    return {inside: walk(figure, box.left, box.top, without), width: Math.ceil(box.width), height: Math.ceil(last - box.top)};
  };

  const title = (figure) => figure.dataset.title ?? figure.querySelector("figcaption b")?.textContent ?? "";

  // The figure as the text of an SVG file, with its size.
  const drawn = (figure) => {
    const {inside, ...size} = shapes(figure, ".figure-save");
    const width = size.width + 2 * MARGIN, height = size.height + 2 * MARGIN;
    const told = [...figure.querySelectorAll("figcaption p:not(.figure-save)")].map((one) => one.textContent).join(" ");
    const text = `<svg${attributes({xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}`})}>` +
      `<title>${escaped(title(figure))}</title><desc>${escaped(told)}</desc>` +
      `<rect${attributes({width, height, fill: paper().getPropertyValue("--paper") || "white"})}/>` +
      `<g transform="translate(${MARGIN} ${MARGIN})">${inside}</g></svg>`;
    return {text, width, height};
  };

  // Words broken into lines of a width, three at most.
  const broken = (words, width) => words.split(/\s+/).reduce((found, word) => {
    const longer = `${found.at(-1) ?? ""} ${word}`.trim();
    if (found.length && (pen.measureText(longer).width <= width || found.length === 3)) return [...found.slice(0, -1), longer];
    return [...found, word];
  }, []);

  // The result as a slide of 16:9: where it is from, its title, the figure as large as it fits, the date.
  const slide = (figure) => {
    const {width, height} = SLIDE, edge = 96, look = paper(), family = getComputedStyle(figure).fontFamily;
    const stage = figure.closest(".stage")?.querySelector(".step")?.textContent ?? "";
    const line = (words, y, size, weight, fill) =>
      `<text${attributes({x: edge, y, "font-family": family, "font-size": size, "font-weight": weight, fill})}>${escaped(words)}</text>`;
    const ink = look.getPropertyValue("--ink") || "black", soft = look.getPropertyValue("--ink-soft") || "gray";
    const named = figure.dataset.title ?? "";
    pen.font = `650 46px ${family}`;
    const heading = named ? broken(named, width - 2 * edge) : [];
    const top = 130 + 58 * heading.length, room = {width: width - 2 * edge, height: height - top - 110};
    const {inside, ...size} = shapes(figure, '.figure-save, [data-slide="no"]' + (named ? ", .figure-title" : ""));
    const scale = Math.min(room.width / size.width, room.height / size.height);
    const left = edge + (room.width - scale * size.width) / 2;
    const date = new Date().toISOString().slice(0, 10);
    const text = `<svg${attributes({xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}`})}>` +
      `<rect${attributes({width, height, fill: look.getPropertyValue("--paper") || "white"})}/>` +
      line(stage, 90, 28, 400, soft) + heading.map((words, at) => line(words, 150 + 58 * at, 46, 650, ink)).join("") +
      `<g transform="translate(${left} ${top + (room.height - scale * size.height) / 3}) scale(${scale})">${inside}</g>` +
      line(`The fine-tuning studio · ${date}`, height - 48, 24, 400, soft) + "</svg>";
    return {text, width, height};
  };

  const painted = async ({text, width, height}, scale) => {
    const image = new Image();
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
    await image.decode();
    const canvas = Object.assign(document.createElement("canvas"), {width: scale * width, height: scale * height});
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  };

  const save = (blob, name) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  // A browser copies pictures only from an address that it takes for safe; elsewhere the slide becomes a file.
  const copy = async (figure, name) => {
    const picture = painted(slide(figure), 1);
    try {
      await navigator.clipboard.write([new ClipboardItem({"image/png": picture})]);
      return "Copied: paste it into your slides.";
    } catch {
      save(await picture, `${name}-slide.png`);
      return "This browser copies no pictures from here; saved as a file.";
    }
  };

  const ways = {
    svg: (figure, name) => save(new Blob([drawn(figure).text], {type: "image/svg+xml"}), `${name}.svg`),
    png: async (figure, name) => save(await painted(drawn(figure), SCALE), `${name}.png`),
    csv: (figure, name) => save(new Blob([figure.dataset.csv], {type: "text/csv;charset=utf-8"}), `${name}.csv`),
    slide: copy,
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-save]"), figure = button?.closest("[data-name]");
    if (!figure) return;
    const said = await ways[button.dataset.save](figure, `studio-${figure.dataset.name}`);
    const status = button.parentElement.querySelector("[role=status]");
    if (status) status.textContent = said ?? "";
  });
}
