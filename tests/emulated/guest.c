/* SPDX-License-Identifier: Apache-2.0 */
/* What a program of Linux needs to run on a bare emulated CPU: its files in memory (a tar archive), the few system calls of
 * a process with one thread, and an end. scripts/emulated-cpu uses it; Linux itself would take a hundred times as long to
 * start, and does not start on a CPU with AMX but without XFD, which emulators lack.
 *
 * The archive begins with a file /size of ten digits, the sectors that it has. Memory: this image from 1 MiB, the archive from 8 MiB, the program from 256 MiB, its loader from 512 MiB, its heap from
 * 768 MiB, mappings from 1152 MiB. */
#include <asm/prctl.h>
#include <asm/unistd_64.h>
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#define ARCHIVE ((const char *)0x800000)
#define PROGRAM 0x10000000ul
#define LOADER 0x20000000ul
#define HEAP 0x30000000ul
#define HEAP_END 0x48000000ul
#define MAPPINGS 0x48000000ul
#define MAPPINGS_END 0x7ff00000ul
#define STACK_BYTES 0x800000ul
#define PAGE 4096ul
#define FILES 64
#define ARCHIVE_END 0x10000000ul
#define TICKS_A_SECOND 1000000000ul /* ips of the emulator's settings */

struct registers {
    long r9, r8, r10, rdx, rsi, rdi, rax;
};

struct file {
    const char *data;
    size_t size, at;
    int used, is_folder;
};

void guest_main(void);
void guest_syscall(struct registers *registers);
void guest_fault(long number, long code, unsigned long from, unsigned long address);
void guest_enter(unsigned long start, unsigned long stack) __attribute__((noreturn));
extern void guest_syscall_entry(void);
extern const unsigned long guest_faults[32];
void *memcpy(void *to, const void *from, size_t count);
void *memset(void *to, int byte, size_t count);

static struct file files[FILES] = {{.used = 1}, {.used = 1}, {.used = 1}};
static unsigned long heap_end = HEAP, mapped_to = MAPPINGS;
static char program_path[256];

/* --- the machine ------------------------------------------------------------------------------------------------------ */

static void out_byte(uint16_t port, char byte)
{
    __asm__ volatile("outb %0, %1" : : "a"(byte), "Nd"(port));
}

static void put(const char *text, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        out_byte(0xe9, text[i]);
    }
}

static void put_text(const char *text)
{
    for (; *text != '\0'; text++) {
        out_byte(0xe9, *text);
    }
}

static void put_number(unsigned long value, unsigned base)
{
    char digits[24];
    size_t at = sizeof digits;
    do {
        digits[--at] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value > 0);
    put(digits + at, sizeof digits - at);
}

static unsigned long ticks(void)
{
    uint32_t low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (unsigned long)high << 32 | low;
}

static void write_register(uint32_t number, unsigned long value)
{
    __asm__ volatile("wrmsr" : : "c"(number), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static uint8_t in_byte(uint16_t port)
{
    uint8_t byte;
    __asm__ volatile("inb %1, %0" : "=a"(byte) : "Nd"(port));
    return byte;
}

/* Sectors of the first disk from the first one on, word by word from its port; 0 ends an archive that is longer. */
static void read_disk(char *to, uint32_t sectors)
{
    for (uint32_t first = 0; first < sectors; first += 256) {
        out_byte(0x1f6, (char)(0xe0 | first >> 24));
        out_byte(0x1f2, 0); /* 256 */
        out_byte(0x1f3, (char)first);
        out_byte(0x1f4, (char)(first >> 8));
        out_byte(0x1f5, (char)(first >> 16));
        out_byte(0x1f7, 0x20);
        for (int i = 0; i < 256; i++) {
            size_t words = 256;
            uint8_t status;
            while (((status = in_byte(0x1f7)) & 0x88) != 0x08) {
                if ((status & 0x81) == 1) {
                    return;
                }
            }
            __asm__ volatile("rep insw" : "+D"(to), "+c"(words) : "d"((uint16_t)0x1f0) : "memory");
        }
    }
}

/* The emulator ends when it reads this word. */
static __attribute__((noreturn)) void end(long status)
{
    put_text("\nemulated-cpu: exit ");
    put_number((unsigned long)status, 10);
    put_text(" after ");
    put_number(ticks() / 1000000, 10);
    put_text(" million instructions\n");
    for (const char *letter = "Shutdown"; *letter != '\0'; letter++) {
        out_byte((uint16_t)0x8900, *letter);
    }
    for (;;) {
        __asm__ volatile("hlt");
    }
}

void guest_fault(long number, long code, unsigned long from, unsigned long address)
{
    put_text("\nemulated-cpu: exception ");
    put_number((unsigned long)number, 10);
    put_text(", error code ");
    put_number((unsigned long)code, 16);
    put_text(", at ");
    put_number(from, 16);
    put_text(", address ");
    put_number(address, 16);
    put_text(", bytes");
    for (int i = 0; i < 12 && from >= 0x100000 && from < 0x7fffff00; i++) {
        put_text(" ");
        put_number(((const uint8_t *)from)[i], 16);
    }
    end(120);
}

void *memcpy(void *to, const void *from, size_t count)
{
    void *start = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
    return start;
}

void *memset(void *to, int byte, size_t count)
{
    void *start = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(byte) : "memory");
    return start;
}

static size_t length_of(const char *text)
{
    size_t length = 0;
    while (text[length] != '\0') {
        length++;
    }
    return length;
}

/* --- files ------------------------------------------------------------------------------------------------------------- */

/* Without ".", ".." and doubled slashes. */
static void tidy(const char *path, char *to, size_t size)
{
    size_t length = 0;
    while (*path != '\0') {
        const char *part = path;
        while (*path != '\0' && *path != '/') {
            path++;
        }
        size_t count = (size_t)(path - part);
        while (*path == '/') {
            path++;
        }
        if (count == 2 && part[0] == '.' && part[1] == '.') {
            while (length > 0 && to[--length] != '/') {
            }
        } else if (count > 0 && !(count == 1 && part[0] == '.') && length + count + 2 < size) {
            to[length++] = '/';
            memcpy(to + length, part, count);
            length += count;
        }
    }
    to[length] = '\0';
}

static int is_same(const char *a, const char *b)
{
    while (*a != '\0' && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

static int find_file(const char *path, struct file *file)
{
    char wanted[512], name[512];
    tidy(path, wanted, sizeof wanted);
    for (const char *header = ARCHIVE; header[0] != '\0';) {
        size_t size = 0;
        for (int i = 124; i < 135; i++) {
            size = size * 8 + (size_t)(header[i] - '0');
        }
        tidy(header, name, sizeof name);
        if (is_same(name, wanted)) {
            *file = (struct file){.data = header + 512, .size = size, .used = 1, .is_folder = header[156] == '5'};
            return 0;
        }
        header += 512 + (size + 511) / 512 * 512;
    }
    return -ENOENT;
}

static uint32_t archive_sectors(void)
{
    struct file file;
    uint32_t sectors = 0;
    if (find_file("/size", &file) == 0) {
        for (size_t i = 0; i < 10; i++) {
            sectors = sectors * 10 + (uint32_t)(file.data[i] - '0');
        }
    }
    return sectors < (ARCHIVE_END - 0x800000ul) / 512 ? sectors : 0;
}

static long open_file(const char *path, long flags)
{
    for (int i = 3; i < FILES && (flags & 3) == 0; i++) {
        if (!files[i].used) {
            int status = find_file(path, &files[i]);
            files[i].used = status == 0 && !files[i].is_folder;
            return status < 0 ? status : files[i].is_folder ? -EISDIR : i;
        }
    }
    return (flags & 3) != 0 ? -EROFS : -EMFILE;
}

static long read_file(struct file *file, size_t at, char *to, size_t count)
{
    size_t left = at < file->size ? file->size - at : 0;
    count = count < left ? count : left;
    memcpy(to, file->data + at, count);
    return (long)count;
}

/* struct stat: the mode is at 24, the size at 48, the inode at 8. */
static long put_status(const struct file *file, int number, char *to)
{
    memset(to, 0, 144);
    *(uint64_t *)(to + 8) = (uint64_t)(uintptr_t)file->data + (uint64_t)number + 1;
    *(uint32_t *)(to + 24) = number < 3 ? 0020666 : file->is_folder ? 0040755 : 0100755;
    *(uint64_t *)(to + 48) = file->size;
    *(uint64_t *)(to + 56) = 4096;
    return 0;
}

/* --- memory ------------------------------------------------------------------------------------------------------------ */

static long map(unsigned long address, size_t size, long flags, long number, size_t offset)
{
    size = (size + PAGE - 1) / PAGE * PAGE;
    if ((flags & 0x10) == 0) {
        address = mapped_to;
        if (size > MAPPINGS_END - mapped_to) {
            return -ENOMEM;
        }
        mapped_to += size;
    }
    const struct file *file = (flags & 0x20) == 0 && number >= 3 && number < FILES ? &files[number] : NULL;
    size_t there = file != NULL && offset < file->size ? file->size - offset : 0;
    there = there < size ? there : size;
    if (there > 0) {
        memcpy((void *)address, file->data + offset, there);
    }
    memset((char *)address + there, 0, size - there);
    return (long)address;
}

static long grow_heap(unsigned long to)
{
    if (to >= HEAP && to < HEAP_END) {
        if (to > heap_end) {
            memset((void *)heap_end, 0, to - heap_end);
        }
        heap_end = to;
    }
    return (long)heap_end;
}

static long unmap(unsigned long address, size_t size)
{
    size = (size + PAGE - 1) / PAGE * PAGE;
    if (address + size == mapped_to) {
        mapped_to = address;
    }
    return 0;
}

/* --- system calls ------------------------------------------------------------------------------------------------------ */

static long copy_text(const char *text, char *to, size_t size)
{
    size_t length = length_of(text);
    length = length < size ? length : size;
    memcpy(to, text, length);
    return (long)length;
}

static long set_pointer(long which, unsigned long value)
{
    if (which == ARCH_SET_FS) {
        write_register(0xc0000100, value);
        return 0;
    }
    if (which == 0x1021 || which == 0x1022) { /* state that there is, that is allowed: AMX's too */
        *(uint64_t *)value = 0x600e7;
        return 0;
    }
    return which == 0x1023 ? 0 : -EINVAL; /* leave to use AMX */
}

static long put_time(uint64_t *to)
{
    to[0] = ticks() / TICKS_A_SECOND;
    to[1] = ticks() % TICKS_A_SECOND * (1000000000ul / TICKS_A_SECOND);
    return 0;
}

static long write_all(long number, const char *data, size_t count)
{
    if (number != 1 && number != 2) {
        return -EBADF;
    }
    put(data, count);
    return (long)count;
}

static long write_parts(long number, const uint64_t *parts, long count)
{
    long sum = 0;
    for (long i = 0; i < count; i++) {
        long status = write_all(number, (const char *)parts[2 * i], parts[2 * i + 1]);
        if (status < 0) {
            return status;
        }
        sum += status;
    }
    return sum;
}

static long call_file(const struct registers *r)
{
    struct file *file = r->rdi >= 0 && r->rdi < FILES && files[r->rdi].used ? &files[r->rdi] : NULL;
    if (file == NULL) {
        return -EBADF;
    }
    switch (r->rax) {
    case __NR_read: {
        long count = read_file(file, file->at, (char *)r->rsi, (size_t)r->rdx);
        file->at += (size_t)count;
        return count;
    }
    case __NR_pread64: return read_file(file, (size_t)r->r10, (char *)r->rsi, (size_t)r->rdx);
    case __NR_fstat: return put_status(file, (int)r->rdi, (char *)r->rsi);
    case __NR_lseek:
        file->at = (size_t)(r->rsi + (r->rdx == 1 ? (long)file->at : r->rdx == 2 ? (long)file->size : 0));
        return (long)file->at;
    default:
        file->used = r->rdi < 3;
        return 0;
    }
}

static long call(const struct registers *r)
{
    struct file file;
    switch (r->rax) {
    case __NR_read: case __NR_pread64: case __NR_fstat: case __NR_lseek: case __NR_close: return call_file(r);
    case __NR_write: return write_all(r->rdi, (const char *)r->rsi, (size_t)r->rdx);
    case __NR_writev: return write_parts(r->rdi, (const uint64_t *)r->rsi, r->rdx);
    case __NR_open: return open_file((const char *)r->rdi, r->rsi);
    case __NR_openat: return open_file((const char *)r->rsi, r->rdx);
    case __NR_access: return find_file((const char *)r->rdi, &file);
    case __NR_faccessat: case __NR_faccessat2: return find_file((const char *)r->rsi, &file);
    case __NR_newfstatat:
        if (((const char *)r->rsi)[0] == '\0') {
            return r->rdi >= 0 && r->rdi < FILES ? put_status(&files[r->rdi], (int)r->rdi, (char *)r->rdx) : -EBADF;
        }
        return find_file((const char *)r->rsi, &file) < 0 ? -ENOENT : put_status(&file, 3, (char *)r->rdx);
    case __NR_readlink: return copy_text(program_path, (char *)r->rsi, (size_t)r->rdx);
    case __NR_readlinkat: return copy_text(program_path, (char *)r->rdx, (size_t)r->r10);
    case __NR_getcwd: return copy_text("/", (char *)r->rdi, 2) + 1;
    case __NR_mmap: return map((unsigned long)r->rdi, (size_t)r->rsi, r->r10, (int)r->r8, (size_t)r->r9);
    case __NR_munmap: return unmap((unsigned long)r->rdi, (size_t)r->rsi);
    case __NR_brk: return grow_heap((unsigned long)r->rdi);
    case __NR_arch_prctl: return set_pointer(r->rdi, (unsigned long)r->rsi);
    case __NR_clock_gettime: return put_time((uint64_t *)r->rsi);
    case __NR_gettimeofday: case __NR_clock_nanosleep: return 0;
    case __NR_sched_getaffinity:
        *(uint64_t *)r->rdx = 1;
        return 8;
    case __NR_getrandom:
        memset((void *)r->rdi, 7, (size_t)r->rsi);
        return r->rsi;
    case __NR_getpid: case __NR_gettid: case __NR_set_tid_address: return 1;
    case __NR_getuid: case __NR_geteuid: case __NR_getgid: case __NR_getegid: case __NR_mprotect: case __NR_madvise:
    case __NR_set_robust_list: case __NR_rt_sigaction: case __NR_rt_sigprocmask: case __NR_futex: case __NR_sigaltstack:
    case __NR_sched_yield: return 0;
    case __NR_exit: case __NR_exit_group: end(r->rdi & 0xff);
    default: return -ENOSYS;
    }
}

void guest_syscall(struct registers *registers)
{
    registers->rax = call(registers);
}

/* --- the program ------------------------------------------------------------------------------------------------------- */

/* Where the file's entry is, with its headers' place and the loader's name where it names one. */
static unsigned long load(const char *path, unsigned long base, const Elf64_Ehdr **header, const char **loader)
{
    struct file file;
    if (find_file(path, &file) < 0) {
        put_text("emulated-cpu: no such file: ");
        put_text(path);
        end(121);
    }
    const Elf64_Ehdr *elf = (const Elf64_Ehdr *)file.data;
    const Elf64_Phdr *part = (const Elf64_Phdr *)(file.data + elf->e_phoff);
    for (int i = 0; i < elf->e_phnum; i++) {
        if (part[i].p_type == PT_LOAD) {
            memset((void *)(base + part[i].p_vaddr), 0, part[i].p_memsz);
            memcpy((void *)(base + part[i].p_vaddr), file.data + part[i].p_offset, part[i].p_filesz);
        } else if (part[i].p_type == PT_INTERP && loader != NULL) {
            *loader = file.data + part[i].p_offset;
        }
    }
    *header = elf;
    return base + elf->e_entry;
}

/* The words of a line, each ended by a zero, below `top`; their addresses in order. */
static int split(const char *line, char *to, unsigned long *words, int most)
{
    int count = 0;
    while (*line != '\0' && *line != '\n' && count < most) {
        words[count++] = (unsigned long)to;
        while (*line != '\0' && *line != '\n' && *line != ' ') {
            *to++ = *line++;
        }
        *to++ = '\0';
        while (*line == ' ') {
            line++;
        }
    }
    return count;
}

static void catch_faults(void)
{
    static struct {
        uint16_t low, selector, flags, middle;
        uint32_t high, zero;
    } gates[32] __attribute__((aligned(16)));
    for (int i = 0; i < 32; i++) {
        gates[i].low = (uint16_t)guest_faults[i];
        gates[i].selector = 8;
        gates[i].flags = 0x8e00;
        gates[i].middle = (uint16_t)(guest_faults[i] >> 16);
    }
    const struct __attribute__((packed)) {
        uint16_t size;
        uint64_t base;
    } table = {sizeof gates - 1, (uint64_t)(uintptr_t)gates};
    __asm__ volatile("lidt %0" : : "m"(table));
}

/* The archive's /command has two lines: the program with its arguments, and its environment. */
void guest_main(void)
{
    static unsigned long arguments[64], environment[64];
    static char texts[8192];
    static const unsigned char random[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct file command;
    const Elf64_Ehdr *program, *interpreter;
    const char *loader = NULL;
    catch_faults();
    write_register(0xc0000081, 8ul << 32);
    write_register(0xc0000082, (unsigned long)guest_syscall_entry);
    write_register(0xc0000084, 0x700);
    read_disk((char *)(uintptr_t)0x800000, 512);
    read_disk((char *)(uintptr_t)0x800000, archive_sectors());
    if (find_file("/command", &command) < 0) {
        put_text("emulated-cpu: no command");
        end(121);
    }
    const char *second = command.data;
    while (*second++ != '\n') {
    }
    int words = split(command.data, texts, arguments, 63), settings = split(second, texts + 4096, environment, 63);
    copy_text((const char *)arguments[0], program_path, sizeof program_path - 1);
    unsigned long start = load(program_path, PROGRAM, &program, &loader);
    const unsigned long entry = start;
    if (loader != NULL) {
        start = load(loader, LOADER, &interpreter, NULL);
    }
    mapped_to += STACK_BYTES;
    unsigned long *stack = (unsigned long *)(mapped_to - 8192), *at = stack;
    *at++ = (unsigned long)words;
    for (int i = 0; i <= words; i++) {
        *at++ = i < words ? arguments[i] : 0;
    }
    for (int i = 0; i <= settings; i++) {
        *at++ = i < settings ? environment[i] : 0;
    }
    const unsigned long facts[] = {AT_PHDR, PROGRAM + program->e_phoff, AT_PHENT, sizeof(Elf64_Phdr), AT_PHNUM,
                                   program->e_phnum, AT_BASE, LOADER, AT_ENTRY, entry, AT_PAGESZ, PAGE, AT_RANDOM,
                                   (unsigned long)random, AT_SECURE, 0, AT_UID, 0, AT_EUID, 0, AT_GID, 0, AT_EGID, 0,
                                   AT_CLKTCK, 100, AT_EXECFN, (unsigned long)program_path, AT_NULL, 0};
    memcpy(at, facts, sizeof facts);
    guest_enter(start, (unsigned long)stack);
}
