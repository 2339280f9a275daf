-- Where an attempt's machine is, in words that only its runner reads. For Fly that is the app's name, as before.
ALTER TABLE attempt_tokens RENAME COLUMN fly_app TO place;
