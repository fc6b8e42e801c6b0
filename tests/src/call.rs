//! The usual stage of a test: a node, a browser, and two pages of it whose participants meet in one room.
//!
//! Who is on a page, and what they do there, the test says in JavaScript; `pages/peer.js` has the words for it.

use crate::browser::Browser;
use crate::config::Setup;
use crate::node::Node;
use crate::page::Page;
use crate::token::Token;

/// A node and two pages on it.
#[derive(Debug)]
pub struct Call {
    /// The node that both pages talk to.
    pub node: Node,
    /// The page of those who send, by custom.
    pub left: Page,
    /// The page of those who watch, by custom.
    pub right: Page,
    browser: Browser,
}

impl Call {
    /// Both pages are open; nobody has entered.
    ///
    /// # Panics
    /// When the node or the browser does not start.
    pub async fn begin(setup: Setup) -> Self {
        let node = Node::start(setup).await;
        let browser = Browser::start().await;
        let (left, right) = (open(&browser, &node).await, open(&browser, &node).await);
        Self { node, left, right, browser }
    }

    /// With `ann` on the left page and `bob` on the right one.
    ///
    /// # Panics
    /// When they may not enter.
    pub async fn between_ann_and_bob(setup: Setup) -> Self {
        let call = Self::begin(setup).await.with_left("ann", &Token::of(1, "Ann"), "{}").await;
        call.with_right("bob", &Token::of(2, "Bob"), "{}").await
    }

    /// With one more participant on the left page, by this name in its scripts. `options` is JavaScript ([`Page::enter`]).
    ///
    /// # Panics
    /// When they may not enter.
    pub async fn with_left(self, name: &str, token: &Token, options: &str) -> Self {
        self.left.enter(name, &self.node, token, ROOM, options).await;
        self
    }

    /// With one more participant on the right page.
    ///
    /// # Panics
    /// When they may not enter.
    pub async fn with_right(self, name: &str, token: &Token, options: &str) -> Self {
        self.right.enter(name, &self.node, token, ROOM, options).await;
        self
    }

    /// One more page.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn page(&self) -> Page {
        open(&self.browser, &self.node).await
    }
}

/// A page with nothing of ours on it that may talk to the node, as it comes from there.
async fn open(browser: &Browser, node: &Node) -> Page {
    browser.open(&node.url("/health")).await
}

/// Where everybody meets.
pub const ROOM: &str = "board";
