#include "backend/cuda/plans.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"

/* The file: a line that says what it is, with the stamp; a line "KEY: RANK ENGINE" for each choice; "end COUNT". */
static const char HEAD[] = "unetdump plans 2: ";
enum { CHOICES_MOST = 10000, PATH_MOST = 4096 };

typedef struct kept {
    char key[UDUMP_PLANS_KEY_MOST];
    udump_plan_choice choice;
} kept;

struct udump_plans {
    pthread_mutex_t lock;
    char head[512];
    char folder[PATH_MOST], path[PATH_MOST + 64]; /* "" where there is no place for files */
    kept *choices;
    int32_t count, room;
};

static kept *find(const udump_plans *plans, const char *key) {
    for (int32_t i = 0; i < plans->count; i++)
        if (strcmp(plans->choices[i].key, key) == 0) return &plans->choices[i];
    return NULL;
}

static void set(udump_plans *plans, const char *key, udump_plan_choice choice) {
    kept *place = find(plans, key);
    if (strlen(key) >= UDUMP_PLANS_KEY_MOST || (!place && plans->count == CHOICES_MOST)) return;
    if (!place && plans->count == plans->room) {
        int32_t room = 2 * plans->room + 64;
        kept *grown = realloc(plans->choices, (size_t)room * sizeof *grown);
        if (!grown) return;
        plans->choices = grown;
        plans->room = room;
    }
    if (!place) place = &plans->choices[plans->count++];
    strcpy(place->key, key);
    place->choice = choice;
}

/* A line without its end; false where it is cut off or too long. */
static bool read_line(FILE *file, char *line, int size) {
    if (!fgets(line, size, file)) return false;
    size_t length = strlen(line);
    if (!length || line[length - 1] != '\n') return false;
    line[length - 1] = 0;
    return true;
}

/* false: not understood. */
static bool read_choice(udump_plans *plans, char *line) {
    int rank, engine, end = 0;
    char *colon = strrchr(line, ':');
    if (!colon || colon == line || sscanf(colon, ": %9d %9d%n", &rank, &engine, &end) != 2 || colon[end] || rank < 0 || engine < 0) return false;
    *colon = 0;
    if (strlen(line) >= UDUMP_PLANS_KEY_MOST || find(plans, line)) return false;
    set(plans, line, (udump_plan_choice){ rank, engine });
    return true;
}

static bool read_lines(udump_plans *plans, FILE *file) {
    char line[sizeof plans->head + 2], more;
    int count, end = 0;
    if (!read_line(file, line, sizeof line) || strcmp(line, plans->head) != 0) return false;
    while (read_line(file, line, sizeof line)) {
        if (sscanf(line, "end %9d%n", &count, &end) == 1 && !line[end]) return count == plans->count && fread(&more, 1, 1, file) == 0;
        if (plans->count == CHOICES_MOST || !read_choice(plans, line)) return false;
    }
    return false;
}

/* What the file has, if all of it is understood, besides what is there already: others write it too. */
static void read_file(udump_plans *plans) {
    udump_plans *there = calloc(1, sizeof *there);
    FILE *file = there && *plans->path ? fopen(plans->path, "re") : NULL;
    if (there) memcpy(there->head, plans->head, sizeof there->head);
    bool understood = file && read_lines(there, file);
    for (int32_t i = 0; understood && i < there->count; i++)
        if (!find(plans, there->choices[i].key)) set(plans, there->choices[i].key, there->choices[i].choice);
    if (file) fclose(file);
    if (there) free(there->choices);
    free(there);
}

static bool make_folder(const char *folder) { return mkdir(folder, 0700) == 0 || errno == EEXIST; }

static void choose_folder(udump_plans *plans, const char *folder) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (folder) snprintf(plans->folder, sizeof plans->folder, "%s", folder);
    else if (cache && *cache == '/') snprintf(plans->folder, sizeof plans->folder, "%s/unetdump", cache);
    else if (home && *home == '/') {
        snprintf(plans->folder, sizeof plans->folder, "%s/.cache", home);
        make_folder(plans->folder);
        snprintf(plans->folder, sizeof plans->folder, "%s/.cache/unetdump", home);
    }
}

udump_plans *udump_plans_open(const char *folder, const char *stamp) {
    udump_plans *plans = calloc(1, sizeof *plans);
    if (!plans) return NULL;
    pthread_mutex_init(&plans->lock, NULL);
    snprintf(plans->head, sizeof plans->head, "%s%s", HEAD, stamp);
    choose_folder(plans, folder);
    if (*plans->folder) snprintf(plans->path, sizeof plans->path, "%s/plans-%016llx.txt", plans->folder, (unsigned long long)udump_hash_add(UDUMP_HASH_START, plans->head, strlen(plans->head)));
    read_file(plans);
    return plans;
}

void udump_plans_close(udump_plans *plans) {
    if (!plans) return;
    pthread_mutex_destroy(&plans->lock);
    free(plans->choices);
    free(plans);
}

bool udump_plans_find(udump_plans *plans, const char *key, udump_plan_choice *choice) {
    if (!plans) return false;
    pthread_mutex_lock(&plans->lock);
    const kept *found = find(plans, key);
    if (!found) {
        read_file(plans); /* what others have measured since, another model in this process among them, is not measured again */
        found = find(plans, key);
    }
    if (found) *choice = found->choice;
    pthread_mutex_unlock(&plans->lock);
    return found != NULL;
}

static bool write_all(const udump_plans *plans, FILE *file) {
    fprintf(file, "%s\n", plans->head);
    for (int32_t i = 0; i < plans->count; i++)
        fprintf(file, "%s: %d %d\n", plans->choices[i].key, (int)plans->choices[i].choice.rank, (int)plans->choices[i].choice.engine);
    fprintf(file, "end %d\n", (int)plans->count);
    return fflush(file) == 0 && !ferror(file);
}

/* Beside the file, then in its place. */
static void save(const udump_plans *plans) {
    char draft[PATH_MOST + 32];
    if (!*plans->path || !make_folder(plans->folder)) return;
    snprintf(draft, sizeof draft, "%s/.plans-XXXXXX", plans->folder);
    int descriptor = mkstemp(draft);
    FILE *file = descriptor >= 0 ? fdopen(descriptor, "w") : NULL;
    bool written = file && write_all(plans, file);
    if (file) written &= fclose(file) == 0;
    else if (descriptor >= 0) close(descriptor);
    if (descriptor >= 0 && (!written || rename(draft, plans->path))) unlink(draft);
}

void udump_plans_keep(udump_plans *plans, const char *key, udump_plan_choice choice) {
    if (!plans) return;
    pthread_mutex_lock(&plans->lock);
    set(plans, key, choice);
    read_file(plans);
    save(plans);
    pthread_mutex_unlock(&plans->lock);
}
