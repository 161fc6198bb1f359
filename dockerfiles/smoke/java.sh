# Runs in the image, as its user, without network. What it prints first is the version.
javac -version
[ "$JAVA_HOME" = /opt/java ]
[ "$("$JAVA_HOME/bin/java" -version 2>&1 | head -n 1)" = "$(java -version 2>&1 | head -n 1)" ]
mvn --version
cat >Hello.java <<'JAVA'
public class Hello {
    public static void main(String[] arguments) {
        var words = java.util.List.of("compiled", "and", "run");
        System.out.println(String.join(" ", words));
    }
}
JAVA
javac Hello.java
[ "$(java Hello)" = "compiled and run" ]
