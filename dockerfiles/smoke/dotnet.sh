# Runs in the image, as its user, without network. What it prints first is the version.
dotnet --version
[ "$DOTNET_ROOT" = /usr/share/dotnet ]
mkdir feed
dotnet new console --output hello --no-restore
echo 'System.Console.WriteLine(string.Join("-", new[] { 1, 2, 3 }));' >hello/Program.cs
dotnet restore hello --source "$PWD/feed"
[ "$(dotnet run --project hello --no-restore)" = 1-2-3 ]
