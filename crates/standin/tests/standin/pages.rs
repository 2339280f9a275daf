//! The HTML pages.

use super::*;

#[tokio::test]
async fn the_pages_show_texts_without_active_content() {
    let environment = Environment::start().await;
    let number = environment
        .github
        .open_issue(REPOSITORY, "alice", "<b>One</b>", "<script>x()</script>")
        .await
        .unwrap();
    environment.github.comment(REPOSITORY, number, "mallory", "seen<!-- porter:{} -->").await.unwrap();
    let page = async |path: String| {
        let response =
            environment.http.get(format!("{}{path}", environment.github.web_url())).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    };
    let (status, text) = page(format!("/{REPOSITORY}/issues/{number}")).await;
    assert_eq!(status, 200);
    for expected in ["&lt;b&gt;One&lt;/b&gt;", "&lt;script&gt;x()&lt;/script&gt;", "mallory", "seen"] {
        assert!(text.contains(expected), "expected {expected:?} in {text}");
    }
    assert!(!text.contains("<script>") && !text.contains("porter:{}"), "{text}");
    assert_eq!(page(format!("/{REPOSITORY}")).await.0, 200);
    assert_eq!(page(format!("/{REPOSITORY}/issues/99")).await.0, 404);
    environment
        .github
        .commit(REPOSITORY, "fix/it", &[File::text("new.txt", "<new>\n")], "Mend it")
        .await
        .unwrap();
    let (status, text) = page(format!("/{REPOSITORY}/tree/fix/it")).await;
    assert!(status == 200 && text.contains("greet.sh") && text.contains("new.txt"), "{text}");
    environment
        .github
        .commit(REPOSITORY, "fix/it", &[File::text("new.txt", "<newer>\n")], "Mend more")
        .await
        .unwrap();
    let sha = environment.github.find_branch(REPOSITORY, "fix/it").await.unwrap().unwrap();
    let (status, text) = page(format!("/{REPOSITORY}/commit/{sha}")).await;
    assert!(status == 200 && text.contains("+&lt;newer&gt;"), "{text}");
    assert_eq!(environment.github.violations(), [""; 0]);
}
