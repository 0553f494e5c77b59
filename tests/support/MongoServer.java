/* SPDX-License-Identifier: Apache-2.0 */

import de.bwaldvogel.mongo.ServerVersion;
import de.bwaldvogel.mongo.backend.h2.H2Backend;
import java.net.InetSocketAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Optional;

/**
 * A stand-in for a MongoDB server, on loopback: MongoServer FOLDER PORT PARENT SECONDS [FILE]. Port 0 is any free one.
 * Writes FOLDER/uri when it listens. Ends when the process PARENT (0: none) is gone, or after SECONDS. With FILE the
 * data is kept there, else in memory.
 */
public final class MongoServer {
    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]);
        int port = Integer.parseInt(arguments[1]);
        long parent = Long.parseLong(arguments[2]);
        long seconds = Long.parseLong(arguments[3]);
        H2Backend backend = arguments.length > 4 ? new H2Backend(arguments[4]) : H2Backend.inMemory();
        backend.version(ServerVersion.MONGO_4_0);
        de.bwaldvogel.mongo.MongoServer server = new de.bwaldvogel.mongo.MongoServer(backend);
        server.bind("127.0.0.1", port);
        InetSocketAddress address = server.getLocalAddress();
        Runtime.getRuntime().addShutdownHook(new Thread(server::shutdownNow));
        Path written = folder.resolve("uri.new");
        Files.writeString(written, "mongodb://127.0.0.1:" + address.getPort() + "\n");
        Files.move(written, folder.resolve("uri"), StandardCopyOption.ATOMIC_MOVE);
        Optional<ProcessHandle> owner = parent == 0 ? Optional.empty() : ProcessHandle.of(parent);
        long end = System.nanoTime() + seconds * 1_000_000_000L;
        while (System.nanoTime() < end && (parent == 0 || owner.map(ProcessHandle::isAlive).orElse(false))) {
            Thread.sleep(300);
        }
        System.exit(0);
    }
}
