//! The operator's page, used as operators use it.

use lockgate_tests::{Browser, Node, Page, Recorder, Setup, Token, number, operator};
use serde_json::json;

/// A name that would be markup if it were not text.
const NAME: &str = "<img src=x onerror=alert(1)>";

/// Types a token in.
async fn show_token(page: &Page, token: &str) {
    page.fill("#token", token).await;
    page.click("#enter").await;
}

/// The page, opened by an operator.
async fn desk(browser: &Browser, node: &Node) -> Page {
    let page = browser.open(&node.url("/admin/")).await;
    show_token(&page, &operator().text()).await;
    page.shows("the desk, and what is on it", "document.querySelector('#plugins > li')").await;
    page
}

/// The meeting page, in a room.
async fn join(browser: &Browser, node: &Node, name: &str) -> Page {
    let page = browser.open(&node.url("/?room=Kitchen%20table")).await;
    page.fill("#name", name).await;
    page.click("#enter").await;
    page.shows("the meeting", "!document.querySelector('#meeting').hidden").await;
    page
}

/// An operator at the desk, and Ann with somebody else in a room.
async fn house(second: &str) -> (Node, Recorder, Browser, Page, [Page; 2]) {
    let node = Node::start(Setup { guests: true, ..Setup::default() }).await;
    let recorder = Recorder::beside(&node).await;
    let browser = Browser::start().await;
    let desk = desk(&browser, &node).await;
    let people = [join(&browser, &node, "Ann").await, join(&browser, &node, second).await];
    desk.shows("both", "document.querySelectorAll('#people > li').length === 2").await;
    (node, recorder, browser, desk, people)
}

/// Presses a button of the page that may be out of sight.
async fn press(page: &Page, selector: &str) {
    page.run(&format!("const one = document.querySelector({selector:?}); one.focus(); one.click()")).await;
}

/// Does what the page asks about.
async fn agree(page: &Page) {
    page.shows("what it asks", "document.querySelector('#confirm').open").await;
    page.click("#confirm-yes").await;
    page.shows("that it asks no more", "!document.querySelector('#confirm').open").await;
}

/// That there is an entry in a list with these words.
fn entry(list: &str, words: &str) -> String {
    format!("[...document.querySelectorAll('{list} > li')].some((one) => one.textContent.includes({words:?}))")
}

#[tokio::test]
async fn a_token_that_is_not_accepted_is_told_and_not_kept() {
    let node = Node::plain().await;
    let browser = Browser::start().await;
    let page = browser.open(&node.url("/admin")).await;
    for (token, words) in [
        ("nonsense".to_owned(), "does not accept"),
        (operator().forged().text(), "does not accept"),
        (operator().expired().text(), "expired"),
        (Token::of(7, "Eve").text(), "no admin grant"),
        ("…".to_owned(), "does not accept"),
    ] {
        show_token(&page, &token).await;
        let told = format!("document.querySelector('#door-problem:not([hidden])')?.textContent.includes({words:?})");
        page.shows(words, &told).await;
        page.run("document.querySelector('#door-problem').hidden = true").await;
    }
    assert_eq!(page.run("return [sessionStorage.length, localStorage.length]").await, json!([0, 0]));
    show_token(&page, &operator().text()).await;
    page.shows("the desk", "!document.querySelector('#desk').hidden").await;
    page.go(&node.url("/admin/")).await;
    page.shows("the desk again", "!document.querySelector('#desk').hidden").await;
    page.click("#sign-out").await;
    page.shows("the door", "!document.querySelector('#door').hidden").await;
    assert_eq!(page.run("return [sessionStorage.length, localStorage.length]").await, json!([0, 0]));
}

#[tokio::test]
async fn a_room_shows_what_flows_and_why_it_was_allowed() {
    let (_node, _recorder, _browser, desk, _people) = house(NAME).await;
    for figure in ["#traffic", "#room-traffic"] {
        let points = format!("Number(document.querySelector('{figure} path[data-points]')?.dataset.points) >= 3");
        desk.shows("a plot of some seconds", &points).await;
    }
    let legend = "[...document.querySelectorAll('#room-traffic .legend li')].map((one) => one.querySelector('span').textContent)";
    assert_eq!(desk.run(&format!("return {legend}.sort()")).await, json!([NAME, "Ann"]));
    assert_eq!(desk.run("return document.querySelectorAll('#desk img').length").await, 0, "names are text");
    desk.shows("what each encoding has", &entry("#people .tracks", "bit/s")).await;
    desk.shows("who is sent which layer", &entry("#people .watches", "layer ")).await;
    desk.run("const one = document.querySelector('#room-plot'); one.value = 'tracks'; one.dispatchEvent(new Event('change'))")
        .await;
    desk.shows("a line for each track", "document.querySelectorAll('#room-traffic .legend li').length === 4").await;

    desk.shows("what plugins decided", &entry("#decisions", "room-admission allowed it")).await;
    desk.shows("of whom", &entry("#decisions", NAME)).await;
    desk.shows("how plugins do", &entry("#plugins", "answers")).await;
    desk.shows("what happened", &entry("#events", "Ann came in by ws")).await;
    desk.shows("that it is told live", "document.querySelector('#events-state.good')").await;
    desk.shows("how busy workers are", "document.querySelector('#workers meter')?.value > 0").await;
    desk.shows("no trouble", "document.querySelector('#trouble').textContent === ''").await;
}

#[tokio::test]
async fn an_operator_silences_removes_records_and_drains_after_asking_once_more() {
    let (_node, _recorder, _browser, desk, [ann, other]) = house("Bob").await;
    press(&desk, "#record").await;
    desk.shows("what it asks", "document.querySelector('#confirm').open").await;
    desk.click("#confirm-no").await;
    desk.shows("that it asks no more", "!document.querySelector('#confirm').open").await;
    press(&desk, "#record").await;
    agree(&desk).await;
    desk.shows("the recording", &entry("#recordings", "recording")).await;
    desk.shows("what the recorder does", "/records 1 session/.test(document.querySelector('#recorder').textContent)")
        .await;
    ann.shows("that it is recorded", "document.querySelector('#recording.live')").await;
    assert_eq!(
        desk.run("return document.querySelectorAll('#recordings > li').length").await,
        1,
        "Cancel recorded nothing"
    );
    desk.looks(1280, 1060, "dark").await;
    let drawn = "Number(document.querySelector('#room-traffic path[data-points]')?.dataset.points) >= 8";
    desk.shows("a plot of some seconds", drawn).await;
    desk.shows("no notice", "document.querySelector('#notices').childElementCount === 0").await;
    desk.picture("operator").await;
    press(&desk, "#record").await;
    agree(&desk).await;
    desk.shows("a recording that is over", &entry("#recordings", "stopped")).await;
    press(&desk, "#recordings summary").await;
    desk.shows("what was recorded of both", "document.querySelectorAll('.timeline svg .file').length === 2").await;
    plays_what_was_recorded(&desk).await;

    press(&desk, "[aria-label=\"Mute Ann's camera\"]").await;
    agree(&desk).await;
    desk.shows("that it is silent", "document.querySelector('[aria-label=\"Forward Ann\\'s camera\"]')").await;
    press(&desk, "[aria-label='Remove Bob']").await;
    desk.fill("#confirm-value", "see you tomorrow").await;
    agree(&desk).await;
    desk.shows("one participant", "document.querySelectorAll('#people > li').length === 1").await;
    other.shows("why", "/see you tomorrow/.test(document.querySelector('#join-problem').textContent)").await;
    desk.shows("that it happened", &entry("#events", "see you tomorrow")).await;

    press(&desk, "#drain").await;
    agree(&desk).await;
    desk.shows("that it drains", "/Drains/.test(document.querySelector('#node-state-text').textContent)").await;
    press(&desk, "#drain").await;
    desk.shows("that it drains no more", "/Lets/.test(document.querySelector('#node-state-text').textContent)").await;
}

/// A file is seen, from somewhere in the middle too, by its link, which is for nothing else.
async fn plays_what_was_recorded(desk: &Page) {
    press(desk, "[aria-label^='Play Ann']").await;
    desk.shows("the recorded picture", "document.querySelector('.files video')?.videoWidth > 0").await;
    let seen = "const video = document.querySelector('.files video');
                await new Promise((resolve) => { video.onseeked = resolve; video.currentTime = video.duration / 2; });
                const link = document.querySelector('.files a[download]').href;
                const part = await fetch(link, { headers: { range: 'bytes=4-7' } });
                const status = async (url) => (await fetch(url)).status;
                return { at: video.currentTime / video.duration, part: [part.status, (await part.arrayBuffer()).byteLength],
                         others: [await status(link.replace(/[?].*/, '')), await status(link.replace('camera', 'screen')), await status(link + 'x')] }";
    let seen = desk.run(seen).await;
    assert!((0.3..0.7).contains(&number(&seen, "at")), "{seen}");
    assert_eq!((&seen["part"], &seen["others"]), (&json!([206, 4]), &json!([401, 401, 401])), "{seen}");
    press(desk, "[aria-label^='Play Ann']").await;
    desk.shows("that it is closed", "!document.querySelector('.files video')").await;
}

#[tokio::test]
async fn a_token_for_a_room_shows_this_one_and_nothing_of_the_node() {
    let node = Node::plain().await;
    let (_ann, _) = node.enter(&Token::of(1, "Ann"), "den").await;
    let (_bob, _) = node.enter(&Token::of(2, "Bob"), "attic").await;
    let browser = Browser::start().await;
    let page = browser.open(&node.url("/admin/")).await;
    show_token(&page, &operator().claim("rooms", json!(["den"])).text()).await;
    page.shows("who is in the room", &entry("#people", "Ann")).await;
    page.shows("that this is not all", "document.querySelector('#desk.partial')").await;
    let seen = "return [...document.querySelectorAll('#rooms b')].map((one) => one.textContent)";
    assert_eq!(page.run(seen).await, json!(["den"]));
    assert_eq!(page.run("return document.querySelector('#drain').hidden").await, true);
    page.shows("no trouble", "document.querySelector('#trouble').textContent === ''").await;
}

#[tokio::test]
#[ignore = "thorough: it needs axe-core, `npm ci` in client/"]
async fn of_operators_the_page_has_no_serious_fault_of_accessibility() {
    let (_node, _recorder, _browser, desk, _people) = house(NAME).await;
    desk.learn_axe().await;
    desk.shows("decisions", &entry("#decisions", "allowed")).await;
    desk.run("document.querySelectorAll('details').forEach((one) => (one.open = true))").await;
    for (name, width, height, scheme) in [
        ("operator-desktop-dark", 1280, 1060, "dark"),
        ("operator-desktop-light", 1280, 1060, "light"),
        ("operator-tablet-dark", 900, 1100, "dark"),
        ("operator-phone-dark", 390, 844, "dark"),
        ("operator-phone-light", 390, 844, "light"),
    ] {
        desk.looks(width, height, scheme).await;
        assert_eq!(desk.faults().await, json!([]), "{name}");
        desk.screenshot(name).await;
    }
    press(&desk, "#drain").await;
    desk.shows("what it asks", "document.querySelector('#confirm').open").await;
    assert_eq!(desk.faults().await, json!([]), "a question");
    desk.click("#confirm-no").await;
    press(&desk, "#sign-out").await;
    desk.shows("the door", "!document.querySelector('#door').hidden").await;
    assert_eq!(desk.faults().await, json!([]), "the door");
}
