//! Checks the database: whether it exists and is up to date, and whether its secrets can be decrypted.

use super::Finding;
use crate::accounts::{self, stored_secrets};
use crate::config::Config;
use crypto::vault::Vault;
use db::Db;
use domain::errors::error_chain;

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let path = &config.database.path;
    if !path.exists() {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        return vec![if folder.is_none_or(std::path::Path::is_dir) {
            Finding::ok(format!("{} will be created at the first start", path.display()))
        } else {
            let what = format!("the folder of {} does not exist", path.display());
            Finding::wrong(what, "create it, or change DATABASE_URL")
        }];
    }
    match inspect(config).await {
        Ok(findings) => findings,
        Err(error) => {
            let what = format!("{} cannot be read: {}", path.display(), error_chain(&error));
            vec![Finding::wrong(
                what,
                "check the file's permissions, and that DATABASE_URL is Porter's database",
            )]
        }
    }
}

async fn inspect(config: &Config) -> Result<Vec<Finding>, accounts::Error> {
    let db = Db::open(&config.database.path).await?;
    let (tables, migrations) = db::health::check(&db).await?;
    let mut findings = Vec::new();
    let broken: Vec<&str> = tables
        .iter()
        .filter(|table| table.present && !table.columns_ok)
        .map(|table| table.name.as_str())
        .collect();
    if !broken.is_empty() {
        let what = format!("columns are missing in the tables {}", broken.join(", "));
        findings.push(Finding::wrong(what, "the database was changed by hand; restore a backup"));
    } else if migrations.pending > 0 {
        let what = format!("{} migrations are pending", migrations.pending);
        findings.push(Finding::wrong(what, "run `porter migrate`, or start `porter serve`"));
        db.close().await;
        return Ok(findings);
    } else {
        findings.push(Finding::ok("the tables are up to date"));
    }
    let vault = Vault::new(config.encryption_root.clone(), config.encryption_previous.clone());
    let (opened, closed) = stored_secrets::count(&db, &vault).await?;
    findings.push(if closed == 0 {
        Finding::ok(format!("all {opened} stored secrets can be decrypted"))
    } else {
        Finding::wrong(
            format!("{closed} of {} stored secrets cannot be decrypted", opened + closed),
            "add their root secret to PORTER_SECRET_ENCRYPTION_KEY_PREVIOUS",
        )
    });
    db.close().await;
    Ok(findings)
}
