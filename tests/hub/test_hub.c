/* SPDX-License-Identifier: Apache-2.0 */
#include "hub_on_both.h"

#include <sys/stat.h>
#include <unistd.h>

TEST_USES_SERVER;

static char *sqlite_uri(char **path)
{
    *path = test_path(".db");
    return bson_strdup_printf("sqlite:%s", *path);
}

Test(errors, are_one_line_of_utf8)
{
    bson_error_t why;
    char text[600];
    hub_error(&why, HUB_ERROR_INVALID, "caf\xe9\n%s", "\xc3\xa9");
    cr_expect_str_eq(why.message, "caf? \xc3\xa9");
    for (size_t i = 0; i < sizeof text - 2; i += 2) {
        memcpy(text + i, "\xc3\xa9", 3);
    }
    hub_error(&why, HUB_ERROR_INVALID, "%s", text);
    cr_expect(bson_utf8_validate(why.message, strlen(why.message), false), "cut within a character");
    cr_expect_eq(strlen(why.message), sizeof why.message - 1);
}

HUB_TEST(hub, init_is_harmless_when_repeated)
{
    char id[HUB_ID_SIZE];
    snprintf(id, sizeof id, "%s", hub_id(hub));
    cr_expect_eq(strlen(id), 32);
    cr_expect_eq(GOOD(hub_init(uri, NULL, error)), 0);
    cr_expect_eq(GOOD(hub_init(uri, "digits", error)), 1, "a new project is made");
    cr_expect_eq(GOOD(hub_init(uri, "digits", error)), 0);
    struct hub *other = hub_open(uri, "digits", HUB_OPEN_EXISTING, NULL);
    cr_assert_not_null(other);
    cr_expect_str_eq(hub_id(other), id);
    cr_expect_str_eq(hub_project(other), "digits");
    struct hub *again = hub_reopen(other, NULL);
    cr_assert_not_null(again);
    cr_expect_str_eq(hub_project(again), "digits");
    hub_close(again);
    hub_close(other);
}

HUB_TEST(hub, an_unknown_project_is_refused_and_the_known_ones_named)
{
    bson_error_t why;
    GOOD(hub_init(uri, "digits", error));
    cr_expect_null(hub_open(uri, "diggits", HUB_OPEN_CREATE, &why));
    cr_expect_eq(hub_error_code(&why), HUB_ERROR_NOT_FOUND);
    cr_expect_not_null(strstr(why.message, "default, digits"), "%s", why.message);
    cr_expect_eq(hub_init(uri, "../x", &why), -1);
    cr_expect_eq(hub_error_code(&why), HUB_ERROR_INVALID);
    cr_expect_eq(hub_init(uri, "", &why), -1);
}

HUB_TEST(hub, a_newer_hub_is_refused)
{
    bson_error_t why;
    poke(hub, "meta", "{'_id': 'hub'}", "{'$set': {'schema_version': 9, 'min_reader': 9, 'min_writer': 9, 'program_version': '4.5.6'}}");
    cr_expect_null(hub_open(uri, NULL, HUB_OPEN_CREATE, &why));
    cr_expect_eq(hub_error_code(&why), HUB_ERROR_VERSION);
    cr_expect_not_null(strstr(why.message, "4.5.6"), "%s", why.message);
    cr_expect_eq(hub_init(uri, NULL, &why), -1);
    cr_expect_eq(hub_error_code(&why), HUB_ERROR_VERSION);
    /* Newer, but said to be readable and writable by us. */
    poke(hub, "meta", "{'_id': 'hub'}", "{'$set': {'min_reader': 1, 'min_writer': 1}}");
    struct hub *other = hub_open(uri, NULL, HUB_OPEN_EXISTING, &why);
    cr_expect_not_null(other, "%s", why.message);
    hub_close(other);
    poke(hub, "meta", "{'_id': 'hub'}", "{'$unset': {'hub_id': ''}}");
    cr_expect_null(hub_open(uri, NULL, HUB_OPEN_CREATE, &why));
    cr_expect_eq(hub_error_code(&why), HUB_ERROR_VERSION);
}

Test(hub, a_missing_file_is_made_only_when_asked)
{
    bson_error_t why;
    char *path, *uri = sqlite_uri(&path);
    cr_expect_null(hub_open(uri, NULL, HUB_OPEN_EXISTING, &why));
    cr_expect_eq(hub_error_code(&why), HUB_ERROR_NOT_FOUND);
    cr_expect_neq(access(path, F_OK), 0, "looking for a hub leaves no file behind");
    struct hub *hub = hub_open(uri, NULL, HUB_OPEN_CREATE, &why);
    cr_assert_not_null(hub, "%s", why.message);
    cr_expect_str_eq(hub_project(hub), "default");
    hub_close(hub);
    hub = hub_open(uri, NULL, HUB_OPEN_EXISTING, &why);
    cr_expect_not_null(hub, "%s", why.message);
    hub_close(hub);
    bson_free(uri);
    free(path);
}

Test(hub, an_empty_mongodb_database_is_not_made_into_a_hub_by_opening)
{
    bson_error_t why;
    char *uri = test_server_database(NULL);
    cr_expect_null(hub_open(uri, NULL, HUB_OPEN_CREATE, &why));
    cr_expect_eq(hub_error_code(&why), HUB_ERROR_NOT_FOUND, "%s", why.message);
    cr_expect_not_null(strstr(why.message, "tl_hub init"));
    free(uri);
}

Test(hub, errors_name_no_credentials)
{
    bson_error_t why;
    const char *const uris[] = {"mongodb://user:CANARY@127.0.0.1:1/x?serverSelectionTimeoutMS=200&connectTimeoutMS=200",
                                "mongodb://user:CANARY@", "postgres://user:CANARY@host/x", "CANARY", "sqlite:/nowhere/x.db"};
    for (size_t i = 0; i < sizeof uris / sizeof uris[0]; i++) {
        cr_expect_null(hub_open(uris[i], NULL, HUB_OPEN_EXISTING, &why));
        cr_expect_null(i == 3 ? NULL : strstr(why.message, "CANARY"), "%s", why.message);
        cr_expect_null(strchr(why.message, '\n'));
        cr_expect_gt(strlen(why.message), 10);
    }
}

Test(hub, digests_keep_their_parts_apart)
{
    char a[HUB_ID_SIZE], b[HUB_ID_SIZE], sha[65];
    const char *const one[] = {"ab", "c"}, *const two[] = {"a", "bc"};
    hub_digest_id(one, 2, a);
    hub_digest_id(two, 2, b);
    cr_expect_str_neq(a, b);
    cr_expect_eq(strlen(a), 32);
    hub_digest_id(one, 2, b);
    cr_expect_str_eq(a, b);
    hub_random_id(a);
    hub_random_id(b);
    cr_expect_str_neq(a, b);
    hub_sha256("abc", 3, sha);
    cr_expect_str_eq(sha, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    hub_sha256(NULL, 0, sha);
    cr_expect_str_eq(sha, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void expect_words(const bson_t *document, const char *expected)
{
    bson_iter_t iter, words;
    char got[4096] = "";
    cr_assert(bson_iter_init_find(&iter, document, "words") && bson_iter_recurse(&iter, &words));
    while (bson_iter_next(&words)) {
        size_t used = strlen(got);
        snprintf(got + used, sizeof got - used, "%s%s", used > 0 ? " " : "", bson_iter_utf8(&words, NULL));
    }
    cr_expect_str_eq(got, expected);
}

Test(hub, words_are_lower_case_single_and_cut)
{
    bson_t *tags = json("{'0': 'Fashion-MNIST', '1': 'cnn', '2': 5}"), document = BSON_INITIALIZER, array;
    hub_append_words(&document, "Dense  net, DENSE", "größe 28x28!", tags);
    expect_words(&document, "dense net fashion mnist cnn größe 28x28");
    bson_destroy(&document);
    bson_destroy(tags);
    char many[4000] = "", twoes[201];
    for (int i = 0; i < 100; i++) {
        size_t used = strlen(many);
        snprintf(many + used, sizeof many - used, "word%d ", i);
    }
    cr_expect_eq(hub_split_words(many, &array), 64);
    bson_destroy(&array);
    /* A cut in the middle of a two-byte character takes the whole of it. */
    twoes[0] = 'x';
    for (size_t i = 0; i < 99; i++) {
        memcpy(twoes + 1 + 2 * i, "ö", 2);
    }
    twoes[199] = '\0';
    cr_expect_eq(hub_split_words(twoes, &array), 1);
    bson_iter_t iter;
    cr_assert(bson_iter_init_find(&iter, &array, "0"));
    cr_expect_eq(strlen(bson_iter_utf8(&iter, NULL)), 63);
    cr_expect(bson_utf8_validate(bson_iter_utf8(&iter, NULL), 63, false));
    bson_destroy(&array);
}
