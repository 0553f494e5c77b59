/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/queue_by_hand.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BEGIN, COMMIT, SELECT, CLAIM, FINISH, FILES, CHUNK, MODEL, INSERT, WORD, STATEMENTS };

struct by_hand {
    sqlite3 *database;
    sqlite3_stmt *statements[STATEMENTS];
    int64_t finished;
};

/* tl_hub's indexes on tasks, models and blobs, on columns. */
static const char *const schema =
    "CREATE TABLE tasks (id TEXT UNIQUE NOT NULL, project TEXT, queue TEXT, resource_class TEXT, lane INT, state TEXT,"
    " priority INT, seq INT, name TEXT, sweep TEXT, not_before INT, published INT, result_blob BLOB, checkpoint_blob BLOB,"
    " claim_id TEXT, payload BLOB);"
    "CREATE INDEX t1 ON tasks(project, queue, resource_class, lane, state, priority DESC, seq);"
    "CREATE INDEX t2 ON tasks(project, name, state, seq DESC);"
    "CREATE INDEX t3 ON tasks(state, not_before);"
    "CREATE INDEX t4 ON tasks(published);"
    "CREATE INDEX t5 ON tasks(project, seq);"
    "CREATE INDEX t6 ON tasks(project, sweep);"
    "CREATE INDEX t7 ON tasks(result_blob);"
    "CREATE INDEX t8 ON tasks(checkpoint_blob);"
    "CREATE TABLE words (collection TEXT, word TEXT, row INT);"
    "CREATE INDEX w1 ON words(collection, word, row);"
    "CREATE TABLE models (id TEXT UNIQUE NOT NULL, project TEXT, accuracy REAL, loss REAL, created_at INT, name TEXT,"
    " task TEXT, blob BLOB, deleted INT, payload BLOB);"
    "CREATE INDEX m1 ON models(project, accuracy DESC);"
    "CREATE INDEX m2 ON models(project, loss);"
    "CREATE INDEX m3 ON models(project, created_at);"
    "CREATE INDEX m4 ON models(task);"
    "CREATE INDEX m5 ON models(blob);"
    "CREATE INDEX m6 ON models(project, name, created_at);"
    "CREATE INDEX m7 ON models(deleted);"
    "CREATE TABLE files (id BLOB UNIQUE NOT NULL, filename TEXT, uploaded INT, payload BLOB);"
    "CREATE INDEX f1 ON files(filename, uploaded);"
    "CREATE TABLE chunks (id BLOB UNIQUE NOT NULL, files_id BLOB, n INT, data BLOB);"
    "CREATE INDEX c1 ON chunks(files_id, n);";

static const char *const texts[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [SELECT] = "SELECT rowid, id, payload FROM tasks WHERE project='default' AND queue='default' AND resource_class='cpu'"
               " AND lane=0 AND state='ready' ORDER BY priority DESC, seq LIMIT 1",
    [CLAIM] = "UPDATE tasks SET state='running', claim_id=?2, payload=?3 WHERE rowid=?1",
    [FINISH] = "UPDATE tasks SET state='done', published=1, result_blob=?3, payload=?4"
               " WHERE rowid=?1 AND state='running' AND claim_id=?2",
    [FILES] = "INSERT INTO files VALUES (?1, 'weights', 1, zeroblob(200))",
    [CHUNK] = "INSERT INTO chunks VALUES (randomblob(12), ?1, 0, ?2)",
    [MODEL] = "INSERT INTO models VALUES (?1, 'default', 0.9, 0.1, 1, 'bench', ?2, ?3, NULL, zeroblob(800))",
    [WORD] = "INSERT INTO words VALUES (?1, 'bench', last_insert_rowid())",
    [INSERT] = "INSERT INTO tasks VALUES (lower(hex(randomblob(16))), 'default', 'default', 'cpu', 0, 'ready', 0, ?1,"
               " 'bench', 'sweep', NULL, NULL, NULL, NULL, NULL, ?2)",
};

static int failed(struct by_hand *queue, const char *what)
{
    fprintf(stderr, "by hand: %s: %s\n", what, sqlite3_errmsg(queue->database));
    return -1;
}

static int run(struct by_hand *queue, int statement)
{
    sqlite3_stmt *s = queue->statements[statement];
    int rc = sqlite3_step(s);
    sqlite3_reset(s);
    return rc == SQLITE_DONE ? 0 : failed(queue, texts[statement]);
}

int by_hand_open(const char *path, const char *journal_mode, struct by_hand **queue)
{
    struct by_hand *q = calloc(1, sizeof *q);
    char pragma[64];
    *queue = q;
    if (!q)
        return -1;
    snprintf(pragma, sizeof pragma, "PRAGMA journal_mode=%s", journal_mode);
    if (sqlite3_open(path, &q->database) != SQLITE_OK || sqlite3_exec(q->database, pragma, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(q->database, "PRAGMA synchronous=FULL", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(q->database, schema, NULL, NULL, NULL) != SQLITE_OK)
        return failed(q, "open");
    for (int i = 0; i < STATEMENTS; i++)
        if (sqlite3_prepare_v2(q->database, texts[i], -1, &q->statements[i], NULL) != SQLITE_OK)
            return failed(q, texts[i]);
    return 0;
}

int by_hand_submit(struct by_hand *queue, int64_t first, int64_t count, int payload_bytes)
{
    if (run(queue, BEGIN))
        return -1;
    for (int64_t i = 0; i < count; i++) {
        sqlite3_bind_int64(queue->statements[INSERT], 1, first + i);
        sqlite3_bind_zeroblob(queue->statements[INSERT], 2, payload_bytes);
        sqlite3_bind_text(queue->statements[WORD], 1, "tasks", -1, SQLITE_STATIC);
        if (run(queue, INSERT) || run(queue, WORD))
            return -1;
    }
    return run(queue, COMMIT);
}

int by_hand_claim_and_finish(struct by_hand *queue, int weight_bytes)
{
    sqlite3_stmt *select = queue->statements[SELECT], *claim = queue->statements[CLAIM],
                 *finish = queue->statements[FINISH];
    static uint8_t payload[1 << 20];
    char id[64] = "", claim_id[33];
    uint8_t blob[12];
    int64_t row;
    int size, rc;

    sqlite3_randomness(sizeof blob, blob);
    snprintf(claim_id, sizeof claim_id, "%032llx", (unsigned long long)++queue->finished);
    if (run(queue, BEGIN))
        return -1;
    rc = sqlite3_step(select);
    if (rc != SQLITE_ROW) {
        sqlite3_reset(select);
        run(queue, COMMIT);
        return rc == SQLITE_DONE ? 0 : failed(queue, "select");
    }
    row = sqlite3_column_int64(select, 0);
    snprintf(id, sizeof id, "%s", (const char *)sqlite3_column_text(select, 1));
    size = sqlite3_column_bytes(select, 2);
    memcpy(payload, sqlite3_column_blob(select, 2), (size_t)size);
    sqlite3_reset(select);
    sqlite3_bind_int64(claim, 1, row);
    sqlite3_bind_text(claim, 2, claim_id, -1, SQLITE_STATIC);
    sqlite3_bind_blob(claim, 3, payload, size, SQLITE_STATIC);
    if (run(queue, CLAIM) || run(queue, COMMIT))
        return -1;

    if (run(queue, BEGIN))
        return -1;
    if (weight_bytes) {
        sqlite3_bind_blob(queue->statements[CHUNK], 1, blob, sizeof blob, SQLITE_STATIC);
        sqlite3_bind_zeroblob(queue->statements[CHUNK], 2, weight_bytes);
        sqlite3_bind_blob(queue->statements[FILES], 1, blob, sizeof blob, SQLITE_STATIC);
        sqlite3_bind_text(queue->statements[MODEL], 1, claim_id, -1, SQLITE_STATIC);
        sqlite3_bind_text(queue->statements[MODEL], 2, id, -1, SQLITE_STATIC);
        sqlite3_bind_blob(queue->statements[MODEL], 3, blob, sizeof blob, SQLITE_STATIC);
        sqlite3_bind_text(queue->statements[WORD], 1, "models", -1, SQLITE_STATIC);
        if (run(queue, CHUNK) || run(queue, FILES) || run(queue, MODEL) || run(queue, WORD))
            return -1;
    }
    sqlite3_bind_int64(finish, 1, row);
    sqlite3_bind_text(finish, 2, claim_id, -1, SQLITE_STATIC);
    if (weight_bytes)
        sqlite3_bind_blob(finish, 3, blob, sizeof blob, SQLITE_STATIC);
    else
        sqlite3_bind_null(finish, 3);
    sqlite3_bind_blob(finish, 4, payload, size, SQLITE_STATIC);
    if (run(queue, FINISH) || run(queue, COMMIT))
        return -1;
    return 1;
}

void by_hand_close(struct by_hand *queue)
{
    if (!queue)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(queue->statements[i]);
    sqlite3_close(queue->database);
    free(queue);
}
